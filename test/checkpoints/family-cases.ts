/** A small random model of every family that folders may have, and of its variants. */

import type { GgufValue } from "../../src/files/gguf-values.ts";
import { type ModelDimensions, randomModel } from "../../src/models/random-model.ts";
import { safetensors, type TensorData } from "../files/safetensors-fixtures.ts";
import { ARCHITECTURES, OTHERS } from "../models/architectures.ts";
import { type Folder, folderOf, type Values } from "./family-folders.ts";
import { scaleTensor } from "./packers.ts";
import { byteTokenizer, json } from "./random-checkpoint.ts";

/** A model of a family, and how it is told. */
export interface FamilyCase {
  readonly type: string;
  /** The case in `ARCHITECTURES`. */
  readonly of: string;
  /** What config.json says more, and the GGUF file in its keys. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly keys?: Readonly<Record<string, GgufValue>>;
  /** Vectors of the GGUF file that are not random. */
  readonly vectors?: Readonly<Record<string, readonly number[]>>;
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
const flag = (value: boolean): GgufValue => ({ type: "bool", value });
const text = (value: string): GgufValue => ({ type: "string", value });

/** A window for these layers. */
const windows = (...layers: readonly number[]): Readonly<Record<string, GgufValue>> => ({
  "attention.sliding_window": u32(9),
  "attention.sliding_window_pattern": { type: "array", of: "bool", values: Uint8Array.from(layers) },
});

const LOCAL = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];

export const CASES: readonly FamilyCase[] = [
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
  { type: "mixtral", of: "mixtral" },
  { type: "qwen2_moe", of: "qwen2moe" },
  {
    type: "qwen2_moe",
    of: "qwen2moe",
    config: { norm_topk_prob: true },
    keys: { expert_weights_norm: flag(true) },
  },
  { type: "qwen3_moe", of: "qwen3moe", keys: { expert_feed_forward_length: u32(96) } },
  {
    type: "qwen3_moe",
    of: "qwen3moe",
    config: { norm_topk_prob: null },
    keys: { expert_weights_norm: flag(false) },
  },
  { type: "gpt_oss", of: "gpt-oss" },
  {
    type: "gpt_oss",
    of: "gpt-oss",
    config: {
      layer_types: ["sliding_attention", "sliding_attention", "full_attention", "full_attention"],
      sliding_window: 9,
      rope_scaling: {
        rope_type: "yarn",
        factor: 4,
        original_max_position_embeddings: 64,
        truncate: false,
      },
    },
    keys: { ...windows(1, 1, 0, 0), "rope.scaling.yarn_truncate": flag(false) },
  },
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
  { type: "stablelm_epoch", of: "stablelm", keys: { "rope.dimension_count": u32(16) } },
  { type: "starcoder2", of: "starcoder2" },
  { type: "starcoder2", of: "starcoder2", erf: true },
  { type: "gpt2", of: "gpt2" },
  { type: "gpt_neox", of: "gptneox", erf: true },
  { type: "gpt_neox", of: "gptneox, one block after the other" },
  { type: "falcon", of: "falcon" },
  { type: "falcon", of: "falcon", erf: true },
  { type: "falcon", of: "falcon with two norms" },
  { type: "RefinedWebModel", of: "falcon" },
  { type: "RefinedWeb", of: "falcon with two norms" },
  { type: "opt", of: "opt" },
  { type: "opt", of: "opt, norms after, narrow embeddings" },
];

/** @param more other dimensions */
export function modelOf(
  { of, erf = false, keys: own, vectors }: FamilyCase,
  more: Partial<ModelDimensions> = {},
) {
  const found = [...ARCHITECTURES, ...OTHERS].find(({ name }) => name === of);
  if (found === undefined) throw new Error(`no case ${of}`);
  const keys = { ...own, ...(erf ? { "feed_forward.activation": text("gelu_erf") } : {}) };
  return randomModel<"F32">({
    ...found.model,
    ...more,
    format: "F32",
    outputFormat: "F32",
    keys: { ...found.model.keys, ...keys },
    vectors: { ...found.model.vectors, ...vectors },
  });
}

/** @param more other dimensions */
export function folderFor(choice: FamilyCase, more: Partial<ModelDimensions> = {}): Folder {
  const { config, tensors } = folderOf(choice.type, modelOf(choice, more));
  // Falcon's models with two norms have names for both.
  const hasTwo = [...tensors.keys()].some((name) => name.includes("ln_attn"));
  const named = [...tensors].map(([name, values]) => {
    return [hasTwo ? name.replace("input_layernorm", "ln_mlp") : name, values] as const;
  });
  return { config: { ...config, ...choice.config }, tensors: new Map(named) };
}

const flat = ({ rows }: Values) => rows.flatMap((row) => Array.from(row));
export const tensorOf = (values: Values): TensorData => scaleTensor(values.shape, flat(values), "F32");

export const tensorsOf = (tensors: Folder["tensors"]): Record<string, TensorData> =>
  Object.fromEntries([...tensors].map(([name, one]) => [name, tensorOf(one)]));

/** The files of a checkpoint. */
export const filesOf = (config: object, tensors: Record<string, TensorData>) => ({
  "config.json": json(config),
  "model.safetensors": safetensors(tensors),
  "tokenizer.json": json(byteTokenizer()),
});
