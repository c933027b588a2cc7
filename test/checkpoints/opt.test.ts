import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { UnsupportedError, UsageError } from "../../src/base/errors.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { packGptq, randomQuantized } from "./packers.ts";
import { codes, divergence, saveCheckpoint } from "./random-checkpoint.ts";
import { type OptCheckpoint, type RandomOpt, randomOpt } from "./random-opt.ts";
import { type OptMistake, optLogits } from "./reference-opt.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", threads: 2, placement: "arena" };
/** Nats: what f32 arithmetic may cost, and what is no rounding any more. */
const CLOSE = 1e-6;
const FAR = 1e-3;
/** Of int8 activations. */
const QUANTIZED_ACTIVATIONS = 0.02;

const textOf = (length: number) => Array.from({ length }, (_, i) => (37 * i + 11) % 300);
const LENGTHS = [1, 5, 33, 100];

const gptq = (bits: number, group: number): Partial<RandomOpt> => ({
  pack: codes(
    (outputs, inputs, rng) =>
      randomQuantized(outputs, inputs, { bits, group, symmetric: false, ordered: bits === 3 }, rng),
    (module, quantized) => packGptq(module, quantized, { format: "gptq" }),
  ),
  config: { quantization_config: { quant_method: "gptq", bits, group_size: group, sym: false } },
});

/** As 125M and most others are; as 350M is; as Galactica is. */
const CASES: Readonly<Record<string, RandomOpt>> = {
  "norms before": { isPreNorm: true },
  "norms after, narrow embeddings": { isPreNorm: false, width: 64 },
  "no biases, GELU, an untied head": {
    isPreNorm: true,
    hasBias: false,
    hasNormWeights: false,
    activation: "gelu",
    tied: false,
    prefix: "decoder.",
  },
  "norms before, GPTQ 4 bits": { isPreNorm: true, ...gptq(4, 128) },
  "norms after, narrow embeddings, GPTQ 3 bits": { isPreNorm: false, width: 64, ...gptq(3, 64) },
};

const MISTAKES: Readonly<Record<string, readonly [OptMistake, (options: RandomOpt) => boolean]>> = {
  "positions from 0": [{ offset: 0 }, () => true],
  "no biases": [{ bias: "missing" }, ({ hasBias = true }) => hasBias],
  "norms on the other side": [{ norms: "swapped" }, () => true],
  "no projections": [{ projection: "missing" }, ({ width }) => width !== undefined],
};

async function logitsOf(
  { files }: OptCheckpoint,
  options: LoadModelOptions,
  lengths = LENGTHS,
): Promise<Float32Array[][]> {
  const path = await saveCheckpoint(join(folder, `${Math.random()}`), { files });
  await using model = await loadModel(path, options);
  const all: Float32Array[][] = [];
  for (const length of lengths) all.push(await model.evaluate(textOf(length)));
  return all;
}

describe.each(Object.entries(CASES))("OPT, %s", (_, options) => {
  const checkpoint = randomOpt(options);
  const truths = LENGTHS.map((length) => optLogits(checkpoint.shape, checkpoint.weights, textOf(length)));
  const longest = truths.at(-1) as number[][];

  test("logits are spread", () => {
    const last = longest.at(-1) as number[];
    const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
    const variance = last.reduce((sum, value) => sum + (value - mean) ** 2, 0) / last.length;
    expect(Math.sqrt(variance)).toBeGreaterThan(2);
  });

  test.for(["wasm", "native"] as const)("%s has the logits of the equations", async (backend, context) => {
    if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
    const found = await logitsOf(checkpoint, { ...EXACT, backend });
    const kls = truths.map((truth, i) => divergence(truth, found[i] as Float32Array[]));
    expect(Math.max(...kls)).toBeLessThan(CLOSE);
    const int8 = await logitsOf(checkpoint, { ...EXACT, backend, activations: "int8" }, [33]);
    expect(divergence(truths[2] as number[][], int8[0] as Float32Array[])).toBeLessThan(
      QUANTIZED_ACTIVATIONS,
    );
  });

  test.each(Object.entries(MISTAKES).filter(([, [, applies]]) => applies(options)))(
    "%s would show",
    (_, [mistake]) => {
      const wrong = optLogits(checkpoint.shape, checkpoint.weights, textOf(33), mistake);
      expect(divergence(truths[2] as number[][], wrong)).toBeGreaterThan(FAR);
    },
  );
});

test("no text is longer than there are positions", async () => {
  const path = await saveCheckpoint(join(folder, "long"), randomOpt({ isPreNorm: true }));
  await expect(loadModel(path, { contextLength: 129, backend: "wasm" })).rejects.toThrow(UsageError);
});

test("an OPT without its last norm is not supported", async () => {
  const config = { _remove_final_layer_norm: true };
  const path = await saveCheckpoint(join(folder, "bare"), randomOpt({ isPreNorm: true, config }));
  await expect(loadModel(path)).rejects.toThrow(UnsupportedError);
});
