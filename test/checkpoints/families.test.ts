import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { Rng } from "../../src/base/rng.ts";
import { MODEL_TYPES } from "../../src/checkpoints/families/index.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { safetensors, type TensorData } from "../files/safetensors-fixtures.ts";
import { ARCHITECTURES } from "../models/architectures.ts";
import { type Folder, folderOf, type Values } from "./family-folders.ts";
import { packGptq, randomQuantized, scaleTensor, weightsOf } from "./packers.ts";
import { byteTokenizer, divergence, json, saveCheckpoint } from "./random-checkpoint.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", backend: "wasm" };
/** Nats; what is computed is the same but for weights that lost a bit by going from 1 + w to w and back. */
const SAME = 1e-6;
/** Longer than the windows of the cases. */
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);

interface FamilyCase {
  readonly type: string;
  /** The case in `ARCHITECTURES`. */
  readonly of: string;
  /** What config.json says more, and the GGUF file in its keys. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly keys?: Readonly<Record<string, GgufValue>>;
  /** GELU is the one that is defined by the normal distribution. */
  readonly erf?: boolean;
}

const longrope = (original: number) => ({
  original_max_position_embeddings: original,
  rope_scaling: {
    type: "longrope",
    short_factor: Array.from({ length: 16 }, (_, i) => 1 + i / 16),
    long_factor: Array.from({ length: 16 }, (_, i) => 1 + i / 2),
    attention_factor: 1.19,
  },
});

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

/** A window for these layers. */
const windows = (...layers: readonly number[]): Readonly<Record<string, GgufValue>> => ({
  "attention.sliding_window": u32(9),
  "attention.sliding_window_pattern": { type: "array", of: "bool", values: Uint8Array.from(layers) },
});

const LOCAL = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];

const CASES: readonly FamilyCase[] = [
  { type: "llama", of: "llama" },
  { type: "mistral", of: "llama with biases, heads of another size" },
  { type: "mistral", of: "llama", config: { sliding_window: 9 }, keys: windows(1, 1, 1, 1) },
  {
    type: "llama",
    of: "llama",
    config: {
      rope_parameters: {
        rope_theta: 500,
        rope_type: "yarn",
        factor: 4,
        original_max_position_embeddings: 16,
      },
    },
    keys: {
      "rope.freq_base": f32(500),
      "rope.scaling.type": text("yarn"),
      "rope.scaling.factor": f32(4),
      "rope.scaling.original_context_length": u32(16),
    },
  },
  { type: "qwen2", of: "qwen2" },
  {
    type: "qwen2",
    of: "qwen2",
    config: { use_sliding_window: true, sliding_window: 9, max_window_layers: 3 },
    keys: windows(0, 0, 0, 1),
  },
  {
    type: "qwen3",
    of: "qwen3",
    config: { use_sliding_window: true, sliding_window: 9, layer_types: LOCAL },
    keys: windows(0, 1, 0, 1),
  },
  { type: "qwen2", of: "qwen2, tied" },
  { type: "qwen3", of: "qwen3" },
  { type: "gemma", of: "gemma" },
  { type: "gemma2", of: "gemma2" },
  { type: "gemma3_text", of: "gemma3" },
  { type: "gemma3_text", of: "gemma3 without a window" },
  { type: "gemma3", of: "gemma3" },
  { type: "phi", of: "phi2" },
  { type: "phi", of: "phi2", erf: true },
  { type: "phi3", of: "phi3" },
  { type: "phi3", of: "phi3", config: { sliding_window: 9 }, keys: windows(1, 1, 1, 1) },
  { type: "phi3", of: "phi3, short factors", config: longrope(4096) },
  { type: "phi3", of: "phi3, long factors, tied", config: longrope(64) },
  { type: "smollm3", of: "smollm3" },
  {
    type: "smollm3",
    of: "smollm3",
    config: { use_sliding_window: true, sliding_window: 9 },
    keys: windows(0, 0, 0, 1),
  },
  { type: "stablelm", of: "stablelm" },
  { type: "stablelm", of: "stablelm, parallel, norms of heads" },
  { type: "starcoder2", of: "starcoder2" },
  { type: "starcoder2", of: "starcoder2", erf: true },
  { type: "gpt2", of: "gpt2" },
  { type: "gpt_neox", of: "gptneox", erf: true },
  { type: "gpt_neox", of: "gptneox, one block after the other" },
  { type: "falcon", of: "falcon" },
  { type: "falcon", of: "falcon", erf: true },
  { type: "falcon", of: "falcon with two norms" },
];

function modelOf({ of, erf = false, keys: own }: FamilyCase) {
  const found = ARCHITECTURES.find(({ name }) => name === of);
  if (found === undefined) throw new Error(`no case ${of}`);
  const keys = { ...own, ...(erf ? { "feed_forward.activation": text("gelu_erf") } : {}) };
  return randomModel<"F32">({ ...found.model, format: "F32", keys: { ...found.model.keys, ...keys } });
}

function folderFor(choice: FamilyCase): Folder {
  const { config, tensors } = folderOf(choice.type, modelOf(choice));
  // Falcon's models with two norms have names for both.
  const hasTwo = [...tensors.keys()].some((name) => name.includes("ln_attn"));
  const named = [...tensors].map(([name, values]) => {
    return [hasTwo ? name.replace("input_layernorm", "ln_mlp") : name, values] as const;
  });
  return { config: { ...config, ...choice.config }, tensors: new Map(named) };
}

const flat = ({ rows }: Values) => rows.flatMap((row) => Array.from(row));
const tensorOf = (values: Values): TensorData => scaleTensor(values.shape, flat(values), "F32");

async function logitsOf(path: string): Promise<Float32Array[]> {
  await using model = await loadModel(path, EXACT);
  return await model.evaluate(TOKENS);
}

async function save(config: object, tensors: Record<string, TensorData>): Promise<string> {
  const files = {
    "config.json": json(config),
    "model.safetensors": safetensors(tensors),
    "tokenizer.json": json(byteTokenizer()),
  };
  return saveCheckpoint(join(folder, `${Math.random()}`), { files });
}

const saveFolder = ({ config, tensors }: Folder) =>
  save(config, Object.fromEntries([...tensors].map(([name, one]) => [name, tensorOf(one)])));

const named = CASES.map((choice) => {
  const more = [...(choice.erf ? ["erf"] : []), ...Object.keys(choice.config ?? {})];
  return [`${choice.type}: ${[choice.of, ...more].join(", ")}`, choice] as const;
});

test("all families have a case", () => {
  const tested = new Set([...CASES.map(({ type }) => type), "opt"]);
  expect([...MODEL_TYPES].sort()).toEqual([...tested].sort());
});

test.each(named)("%s from a folder has the logits of its GGUF file", async (_, choice) => {
  const gguf = await saveGguf(join(folder, `${Math.random()}.gguf`), modelOf(choice));
  const truth = await logitsOf(gguf);
  const last = truth.at(-1) as Float32Array;
  const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
  expect(Math.sqrt(last.reduce((sum, x) => sum + (x - mean) ** 2, 0) / last.length)).toBeGreaterThan(1.5);
  const kl = divergence(truth, await logitsOf(await saveFolder(folderFor(choice))));
  expect(kl).toBeLessThan(SAME);
  if (choice.config === undefined) return;
  const { config: _more, ...plain } = choice;
  expect(divergence(truth, await logitsOf(await saveFolder(folderFor(plain))))).toBeGreaterThan(10 * SAME);
});

const FUSED = ["gpt2", "gptneox", "falcon with two norms", "phi3", "gemma2", "phi2"];

describe("GPTQ", () => {
  test.each(named.filter(([, { of, config }]) => FUSED.includes(of) && config === undefined))(
    "%s",
    async (_, choice) => {
      const { config, tensors } = folderFor(choice);
      const rng = new Rng(9);
      const coded: Record<string, TensorData> = {};
      const plain: Record<string, TensorData> = {};
      for (const [name, values] of tensors) {
        const isLinear = values.shape.length === 2 && /\.\d+\./.test(name);
        plain[name] = tensorOf(values);
        if (!isLinear) coded[name] = tensorOf(values);
        if (!isLinear) continue;
        const isTransposed = choice.type === "gpt2";
        const [rows = 0, cols = 0] = isTransposed ? [...values.shape].reverse() : values.shape;
        const quantized = randomQuantized(rows, cols, { bits: 4, group: 32, symmetric: true }, rng);
        Object.assign(coded, packGptq(name.replace(/\.weight$/, ""), quantized, { format: "gptq" }));
        const weights = weightsOf(quantized);
        const stored = isTransposed
          ? Array.from({ length: cols }, (_, c) => weights.map((row) => row[c] as number))
          : weights;
        plain[name] = scaleTensor(values.shape, stored.flat(), "F32");
      }
      const quantization = { quant_method: "gptq", bits: 4, group_size: 32, sym: true };
      const truth = await logitsOf(await save(config, plain));
      const found = await logitsOf(await save({ ...config, quantization_config: quantization }, coded));
      expect(divergence(truth, found)).toBeLessThan(SAME);
    },
  );
});
