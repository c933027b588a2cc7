/** Decoders whose feed-forward blocks are mixtures of experts. */

import { UnsupportedError } from "../../base/errors.ts";
import type { JsonView } from "../../text/json-view.ts";
import { rowVector } from "./changes.ts";
import { type Decoder, type DecoderKeys, readDecoder } from "./decoder.ts";
import type { Family, Module } from "./family.ts";
import { ATTENTION, ENDS, HEAD_NORMS, LLAMA, likeLlama, NORMS, qwenWindow } from "./llama.ts";
import { MAX_DIMENSION, size } from "./settings.ts";

/** Experts of a layer that are believed; the models' own limit. */
const MAX_EXPERTS = 4096;

const SHARED = { ...ENDS, ...NORMS, ...ATTENTION };

/** How many experts a layer has, and how many of them a token passes. */
export function writeExperts(
  { keys }: Decoder,
  config: JsonView,
  names: readonly string[],
  usual: { readonly count: number; readonly used: number },
): number {
  const count = size(config, names, usual.count, MAX_EXPERTS);
  keys.size("expert_count", count);
  keys.size("expert_used_count", size(config, ["num_experts_per_tok"], Math.min(usual.used, count), count));
  return count;
}

/** Mixtral: a Mistral with experts. */
export const mixtral: Family = {
  read(config) {
    const decoder = readDecoder(config, { ...LLAMA, hasWindow: () => true });
    writeExperts(decoder, config, ["num_local_experts"], { count: 8, used: 2 });
    return likeLlama(decoder, {
      ...SHARED,
      "layers.*.block_sparse_moe.gate": "blk.*.ffn_gate_inp",
      "layers.*.block_sparse_moe.experts.#.w1": "blk.*.ffn_gate_exps",
      "layers.*.block_sparse_moe.experts.#.w2": "blk.*.ffn_down_exps",
      "layers.*.block_sparse_moe.experts.#.w3": "blk.*.ffn_up_exps",
    });
  },
};

const QWEN_EXPERTS: Readonly<Record<string, Module>> = {
  "layers.*.mlp.gate": "blk.*.ffn_gate_inp",
  "layers.*.mlp.experts.#.gate_proj": "blk.*.ffn_gate_exps",
  "layers.*.mlp.experts.#.up_proj": "blk.*.ffn_up_exps",
  "layers.*.mlp.experts.#.down_proj": "blk.*.ffn_down_exps",
};

/** Qwen1.5-MoE and Qwen2-MoE: experts beside one that all tokens pass. */
export const qwen2Moe: Family = {
  read(config) {
    const decoder = readQwen(
      config,
      { ...LLAMA, architecture: "qwen2moe" },
      { count: 60, used: 4, width: 1408 },
    );
    const shared = size(config, ["shared_expert_intermediate_size"], 5632);
    decoder.keys.size("expert_shared_feed_forward_length", shared);
    return likeLlama(decoder, {
      ...SHARED,
      ...QWEN_EXPERTS,
      "layers.*.mlp.shared_expert.gate_proj": "blk.*.ffn_gate_shexp",
      "layers.*.mlp.shared_expert.up_proj": "blk.*.ffn_up_shexp",
      "layers.*.mlp.shared_expert.down_proj": "blk.*.ffn_down_shexp",
      "layers.*.mlp.shared_expert_gate": rowVector("blk.*.ffn_gate_inp_shexp"),
    });
  },
};

/** Qwen3-MoE. */
export const qwen3Moe: Family = {
  read(config) {
    const keys = { ...LLAMA, architecture: "qwen3moe", headDim: 128 };
    const decoder = readQwen(config, keys, { count: 128, used: 8, width: 768 });
    return likeLlama(decoder, { ...SHARED, ...QWEN_EXPERTS, ...HEAD_NORMS });
  },
};

/** @param usual what is meant where config.json is silent: experts, those a token passes, the inner width of one */
function readQwen(
  config: JsonView,
  keys: DecoderKeys,
  usual: { readonly count: number; readonly used: number; readonly width: number },
): Decoder {
  const isSparse = (config.integer("decoder_sparse_step", 1, MAX_DIMENSION) ?? 1) === 1;
  if (!isSparse || config.list("mlp_only_layers").length > 0) {
    throw new UnsupportedError(
      `${config.file}: layers without experts (decoder_sparse_step, mlp_only_layers) are not supported`,
    );
  }
  const decoder = readDecoder(config, { ...keys, hasWindow: qwenWindow });
  writeExperts(decoder, config, ["num_experts", "num_local_experts"], usual);
  decoder.keys.size("expert_feed_forward_length", size(config, ["moe_intermediate_size"], usual.width));
  decoder.keys.flag("expert_weights_norm", config.bool("norm_topk_prob") ?? false);
  return decoder;
}
