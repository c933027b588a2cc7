/** A small random model of every architecture that is known, and of its variants. */

import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { RandomModelOptions } from "../../src/models/random-model.ts";

export interface ArchitectureCase {
  readonly name: string;
  readonly model: RandomModelOptions;
}

const DIMENSIONS = {
  layers: 4,
  hiddenSize: 128,
  intermediateSize: 352,
  heads: 4,
  kvHeads: 2,
  vocabularySize: 1024,
  contextLength: 256,
  format: "F32",
  seed: 11,
} as const;

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const flag = (value: boolean): GgufValue => ({ type: "bool", value });

const expertKeys = (count: number, used: number) => ({
  expert_count: u32(count),
  expert_used_count: u32(used),
});

/** The ε of LayerNorm instead of that of RMSNorm. */
const LAYER_NORM = {
  "attention.layer_norm_rms_epsilon": undefined,
  "attention.layer_norm_epsilon": f32(1e-5),
};
/** What the texts of a comparison reach past. */
const WINDOW = { "attention.sliding_window": u32(24) };

/** The optional tensors whose names have one of these endings. */
const having =
  (...endings: readonly string[]) =>
  (tensor: string) =>
    endings.some((ending) => tensor.endsWith(ending));

/** Of all that a layer has, and of norms. */
const BIASES = ["attn_output", "norm", "_qkv", "_q", "_k", "_v", "_gate", "_up", "_down"].map(
  (part) => `${part}.bias`,
);

const LONGROPE = {
  "rope_factors_short.weight": Array.from({ length: 16 }, (_, i) => 1 + i / 16),
  "rope_factors_long.weight": Array.from({ length: 16 }, (_, i) => 1 + i / 2),
};

const of = (
  name: string,
  architecture: string,
  more: Partial<RandomModelOptions> = {},
): ArchitectureCase => ({ name, model: { ...DIMENSIONS, architecture, ...more } });

export const ARCHITECTURES: readonly ArchitectureCase[] = [
  of("llama", "llama"),
  of("llama with biases, heads of another size", "llama", {
    headDim: 48,
    optional: having(...BIASES, "output.weight"),
    keys: { "rope.dimension_count": u32(48) },
  }),
  of("mixtral", "llama", { keys: expertKeys(8, 2) }),
  of("qwen2moe", "qwen2moe", {
    optional: having("_q.bias", "_k.bias", "_v.bias", "output.weight"),
    keys: {
      ...expertKeys(8, 3),
      expert_feed_forward_length: u32(96),
      expert_shared_feed_forward_length: u32(160),
    },
  }),
  of("qwen3moe", "qwen3moe", {
    headDim: 48,
    keys: { ...expertKeys(20, 4), expert_feed_forward_length: u32(100) },
  }),
  of("gpt-oss", "gpt-oss", {
    headDim: 48,
    optional: having(...BIASES, "_gate_inp.bias", "_exps.bias", "output.weight"),
    keys: {
      ...WINDOW,
      ...expertKeys(8, 3),
      expert_feed_forward_length: u32(90),
      "rope.scaling.type": { type: "string", value: "yarn" },
      "rope.scaling.factor": f32(4),
      "rope.scaling.original_context_length": u32(64),
    },
  }),
  of("qwen2", "qwen2", { optional: having("_q.bias", "_k.bias", "_v.bias", "output.weight") }),
  of("qwen2, tied", "qwen2", { optional: having("_q.bias", "_k.bias", "_v.bias") }),
  of("qwen3", "qwen3", { headDim: 48 }),
  of("gemma", "gemma", { headDim: 64, kvHeads: 1, optional: having() }),
  of("gemma2", "gemma2", {
    headDim: 48,
    optional: having(),
    keys: { ...WINDOW, attn_logit_softcapping: f32(2), final_logit_softcapping: f32(5) },
  }),
  of("gemma3", "gemma3", {
    layers: 6,
    headDim: 48,
    optional: having(),
    keys: {
      ...WINDOW,
      "rope.freq_base": f32(1e6),
      "rope.scaling.type": { type: "string", value: "linear" },
      "rope.scaling.factor": f32(8),
    },
  }),
  of("gemma3 without a window", "gemma3", { optional: having() }),
  of("phi2", "phi2", {
    kvHeads: 4,
    optional: having(...BIASES, "output.bias", "output.weight", "attn_qkv.weight"),
    keys: { ...LAYER_NORM, "rope.dimension_count": u32(12) },
  }),
  of("phi3", "phi3", { optional: having("attn_qkv.weight", "output.weight") }),
  of("phi3, short factors", "phi3", {
    optional: having("attn_qkv.weight", "output.weight"),
    keys: { "rope.scaling.original_context_length": u32(4096), "rope.scaling.attn_factor": f32(1.19) },
    vectors: LONGROPE,
  }),
  of("phi3, long factors, tied", "phi3", {
    optional: having("attn_qkv.weight"),
    keys: { "rope.scaling.original_context_length": u32(64), "rope.scaling.attn_factor": f32(1.19) },
    vectors: LONGROPE,
  }),
  of("smollm3", "smollm3"),
  of("stablelm", "stablelm", {
    optional: having("norm.bias", "_q.bias", "_k.bias", "_v.bias", "output.weight", "ffn_norm.weight"),
    keys: { ...LAYER_NORM, "rope.dimension_count": u32(8) },
  }),
  of("stablelm, parallel, norms of heads", "stablelm", {
    optional: having("norm.bias", "output.weight", "_q_norm.weight"),
    keys: { ...LAYER_NORM, "rope.dimension_count": u32(8) },
  }),
  of("starcoder2", "starcoder2", { optional: having(...BIASES), keys: LAYER_NORM }),
  of("gpt2", "gpt2", { kvHeads: 4, optional: having(...BIASES, "attn_qkv.weight"), keys: LAYER_NORM }),
  of("gptneox", "gptneox", {
    kvHeads: 4,
    optional: having(...BIASES, "attn_qkv.weight", "output.weight"),
    keys: { ...LAYER_NORM, "rope.dimension_count": u32(8), use_parallel_residual: flag(true) },
  }),
  of("gptneox, one block after the other", "gptneox", {
    kvHeads: 4,
    optional: having(...BIASES, "attn_qkv.weight", "output.weight"),
    keys: { ...LAYER_NORM, "rope.dimension_count": u32(8), use_parallel_residual: flag(false) },
  }),
  of("falcon", "falcon", { kvHeads: 1, optional: having("norm.bias", "attn_qkv.weight"), keys: LAYER_NORM }),
  of("falcon with two norms", "falcon", {
    optional: having("norm.bias", "norm_2.bias", "norm_2.weight", "attn_qkv.weight", "output.weight"),
    keys: LAYER_NORM,
  }),
];

/** Architectures that are in no GGUF files but ours. */
export const OTHERS: readonly ArchitectureCase[] = [
  of("opt", "opt", { kvHeads: 4, optional: having(...BIASES), keys: LAYER_NORM }),
  of("opt, norms after, narrow embeddings", "opt", {
    kvHeads: 4,
    optional: having(...BIASES, "output.weight"),
    keys: { ...LAYER_NORM, token_embedding_length: u32(64), post_norm: flag(true) },
  }),
];
