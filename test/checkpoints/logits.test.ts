import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import type { Rng } from "../../src/base/rng.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";
import {
  type Choice,
  packAwq,
  packCompressed,
  packGptq,
  type Quantized,
  randomQuantized,
} from "./packers.ts";
import {
  type Checkpoint,
  codes,
  divergence,
  floats,
  type Pack,
  randomCheckpoint,
  SIZES,
  saveCheckpoint,
} from "./random-checkpoint.ts";
import { llamaLogits } from "./reference-llama.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", threads: 2, placement: "arena" };
/** Nats: what f32 arithmetic may cost, and what is no rounding any more. */
const CLOSE = 1e-6;
const FAR = 10 * CLOSE;
/** Of int8 activations. */
const QUANTIZED_ACTIVATIONS = 0.02;
/** Less than there are tokens. */
const WINDOW = 9;
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);

const random =
  (choice: Choice) =>
  (outputs: number, inputs: number, rng: Rng): Quantized =>
    randomQuantized(outputs, inputs, choice, rng);

function gptq(choice: Choice, format: "gptq" | "gptq_v2", config: object = {}): [Pack, object] {
  const pack = codes(random(choice), (module, quantized) => packGptq(module, quantized, { format }));
  const { bits, group, symmetric } = choice;
  const own = { quant_method: "gptq", bits, group_size: group, sym: symmetric, checkpoint_format: format };
  return [pack, { quantization_config: { ...own, ...config } }];
}

const CHECKPOINTS: Readonly<Record<string, [Pack, object]>> = {
  F32: [floats("F32"), {}],
  BF16: [floats("BF16"), { model_type: "mistral", sliding_window: 64 }],
  "BF16, a window": [floats("BF16"), { model_type: "mistral", sliding_window: WINDOW }],
  "GPTQ 4 bits, own order of every matrix": gptq(
    { bits: 4, group: 32, symmetric: false, ordered: true },
    "gptq",
  ),
  "GPTQ 3 bits": gptq({ bits: 3, group: 64, symmetric: false }, "gptq_v2"),
  "GPTQ 8 bits, rows": gptq({ bits: 8, group: -1, symmetric: true }, "gptq"),
  "GPTQ 2 bits, own order": gptq({ bits: 2, group: 64, symmetric: true, ordered: true }, "gptq"),
  AWQ: [
    codes(random({ bits: 4, group: 64, symmetric: false }), packAwq),
    { quantization_config: { quant_method: "awq", bits: 4, group_size: 64, version: "gemm" } },
  ],
  "compressed-tensors": [
    codes(random({ bits: 4, group: 32, symmetric: true }), (module, quantized) =>
      packCompressed(module, quantized, { symmetric: true, scales: "F16" }),
    ),
    { quantization_config: { quant_method: "compressed-tensors", format: "pack-quantized" } },
  ],
};

async function logitsOf(
  checkpoint: Pick<Checkpoint, "files">,
  options: LoadModelOptions,
): Promise<Float32Array[]> {
  const path = await saveCheckpoint(join(folder, `a folder ${Math.random()}`), checkpoint);
  await using model = await loadModel(path, options);
  return await model.evaluate(TOKENS);
}

const reference = ({ weights }: Checkpoint, window?: number) =>
  llamaLogits({ ...SIZES, ...(window === undefined ? {} : { window }) }, weights, TOKENS);

describe.each(Object.entries(CHECKPOINTS))("%s", (_, [pack, config]) => {
  const checkpoint = randomCheckpoint(pack, { config });
  const window = "sliding_window" in config ? (config.sliding_window as number) : undefined;
  const truth = reference(checkpoint, window);

  test("logits are spread", () => {
    const last = truth.at(-1) as number[];
    const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
    const variance = last.reduce((sum, value) => sum + (value - mean) ** 2, 0) / last.length;
    expect(Math.sqrt(variance)).toBeGreaterThan(2);
  });

  test.for(["wasm", "native"] as const)("%s has the logits of the equations", async (backend, context) => {
    if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
    expect(divergence(truth, await logitsOf(checkpoint, { ...EXACT, backend }))).toBeLessThan(CLOSE);
    const int8 = await logitsOf(checkpoint, { ...EXACT, backend, activations: "int8" });
    expect(divergence(truth, int8)).toBeLessThan(QUANTIZED_ACTIVATIONS);
  });

  test("other pairs of the rotation would show", () => {
    const wrong = llamaLogits(SIZES, checkpoint.weights, TOKENS, { pairs: "interleaved" });
    expect(divergence(truth, wrong)).toBeGreaterThan(FAR);
  });
});

describe("controls", () => {
  test("a window that is not followed would show", () => {
    const checkpoint = randomCheckpoint(floats("F32"), {});
    expect(divergence(reference(checkpoint, WINDOW), reference(checkpoint))).toBeGreaterThan(FAR);
  });

  test("zero points of the other format, orders that are not followed, would show", async () => {
    const choice: Choice = { bits: 4, group: 32, symmetric: false, ordered: true };
    const [pack, config] = gptq(choice, "gptq");
    const truth = reference(randomCheckpoint(pack, { config }));
    const [, wrong] = gptq(choice, "gptq", { checkpoint_format: "gptq_v2" });
    const other = await logitsOf(randomCheckpoint(pack, { config: wrong }), { ...EXACT, backend: "wasm" });
    expect(divergence(truth, other)).toBeGreaterThan(FAR);
    const unordered = codes(random(choice), (module, quantized) => {
      const groups = [...quantized.groups].sort((a, b) => a - b);
      return packGptq(module, { ...quantized, groups }, { format: "gptq" });
    });
    const sorted = await logitsOf(randomCheckpoint(unordered, { config }), { ...EXACT, backend: "wasm" });
    expect(divergence(truth, sorted)).toBeGreaterThan(FAR);
  });

  test("floats can be quantized on load", async () => {
    const checkpoint = randomCheckpoint(floats("F32"));
    const found = await logitsOf(checkpoint, { ...EXACT, backend: "wasm", quantize: "8bit-g32" });
    const kl = divergence(reference(checkpoint), found);
    expect(kl).toBeGreaterThan(FAR);
    expect(kl).toBeLessThan(QUANTIZED_ACTIVATIONS);
  });
});

describe("the trained model", () => {
  const HF = "models/tales/hf";
  const GGUF = "models/tales/tales-5.8m-f16.gguf";

  test("is the same from its folder and from its GGUF file", async (context) => {
    await need(NATIVE_TARGETS[0] as TestTarget, context);
    await using ours = await loadModel(shared(context, HF), EXACT);
    await using theirs = await loadModel(shared(context, GGUF), EXACT);
    const text = "Once upon a time there was a little bird — 鳥 — who lived\nin the wood.";
    const ids = ours.tokenizer.encode(text);
    expect(ids).toEqual(theirs.tokenizer.encode(text));
    const kl = divergence(await ours.evaluate(ids), await theirs.evaluate(ids));
    // The file's weights are rounded to f16.
    expect(kl).toBeGreaterThan(0);
    expect(kl).toBeLessThan(1e-4);
    const greedy = { maxTokens: 80, temperature: 0, repeatPenalty: 1 };
    const texts = [ours, theirs].map(async (model) => {
      let all = "";
      for await (const piece of model.generate("The king said", greedy)) all += piece;
      return all;
    });
    const [fromFolder, fromFile] = await Promise.all(texts);
    expect(fromFolder).toBe(fromFile);
    expect(fromFolder?.length).toBeGreaterThan(100);
  });

  test("may be named by its folder, its configuration or its weights", async (context) => {
    const path = shared(context, HF);
    for (const name of ["", "/config.json", "/model.safetensors"]) {
      await using model = await loadModel(`${path}${name}`, { ...EXACT, backend: "wasm" });
      expect(model.config).toMatchObject({ architecture: "llama", layers: 6, headDim: 32 });
      expect([...model.tokenizer.eosIds]).toEqual([1]);
    }
  });
});
