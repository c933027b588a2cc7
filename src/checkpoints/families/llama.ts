import { UnsupportedError } from "../../base/errors.ts";
import type { GgufValue } from "../../files/gguf-values.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import { type Family, MAX_DIMENSION, positive, sizes } from "./family.ts";
import { llama3Factors, ropeMetadata, ropeSettings } from "./rope.ts";

const SIZES = {
  vocab_size: "llama.vocab_size",
  hidden_size: "llama.embedding_length",
  intermediate_size: "llama.feed_forward_length",
  num_hidden_layers: "llama.block_count",
  num_attention_heads: "llama.attention.head_count",
} as const;

/** Llama and Mistral, of which some see a window. */
export const llama: Family = {
  metadata(config) {
    const activation = config.string("hidden_act") ?? "silu";
    if (activation !== "silu") {
      throw new UnsupportedError(
        `${config.file}: hidden_act ${quoted(activation)} is not supported in a Llama`,
      );
    }
    const heads = config.integer("num_attention_heads", 1, MAX_DIMENSION) ?? 1;
    const kvHeads = config.integer("num_key_value_heads", 1, heads) ?? heads;
    const window = config.integer("sliding_window", 1, MAX_DIMENSION);
    const headDim = config.integer("head_dim", 1, MAX_DIMENSION);
    const u32 = (value: number): GgufValue => ({ type: "u32", value });
    return new Map<string, GgufValue>([
      ["general.architecture", { type: "string", value: "llama" }],
      ...sizes(config, SIZES),
      ["llama.context_length", u32(contextLength(config))],
      ...(window === undefined ? [] : [["llama.attention.sliding_window", u32(window)] as const]),
      ["llama.attention.head_count_kv", u32(kvHeads)],
      ...(headDim === undefined
        ? []
        : ([
            ["llama.attention.key_length", u32(headDim)],
            ["llama.attention.value_length", u32(headDim)],
            ["llama.rope.dimension_count", u32(headDim)],
          ] as const)),
      [
        "llama.attention.layer_norm_rms_epsilon",
        { type: "f32", value: positive(config, "rms_norm_eps", 1e-6) },
      ],
      // GGUF's converters permute the rows of q and k instead.
      ["llama.rope.pairing", { type: "string", value: "halves" }],
      ...ropeMetadata("llama", ropeSettings(config)),
    ]);
  },

  modules: {
    "model.embed_tokens": "token_embd",
    "model.layers.*.input_layernorm": "blk.*.attn_norm",
    "model.layers.*.self_attn.q_proj": "blk.*.attn_q",
    "model.layers.*.self_attn.k_proj": "blk.*.attn_k",
    "model.layers.*.self_attn.v_proj": "blk.*.attn_v",
    "model.layers.*.self_attn.o_proj": "blk.*.attn_output",
    "model.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
    "model.layers.*.mlp.gate_proj": "blk.*.ffn_gate",
    "model.layers.*.mlp.up_proj": "blk.*.ffn_up",
    "model.layers.*.mlp.down_proj": "blk.*.ffn_down",
    "model.norm": "output_norm",
    lm_head: "output",
  },

  derived: ["model.layers.*.self_attn.rotary_emb.inv_freq"],

  vectors(config) {
    const heads = config.integer("num_attention_heads", 1, MAX_DIMENSION) ?? 1;
    const hiddenSize = config.integer("hidden_size", 1, MAX_DIMENSION) ?? heads;
    const rotated = config.integer("head_dim", 1, MAX_DIMENSION) ?? Math.floor(hiddenSize / heads);
    const factors = llama3Factors(ropeSettings(config), rotated);
    return new Map(factors === undefined ? [] : [["rope_freqs.weight", factors]]);
  },
};

/** Positions as trained. */
function contextLength(config: JsonView): number {
  const context = config.integer("max_position_embeddings", 1, MAX_DIMENSION);
  if (context === undefined) throw config.error("max_position_embeddings", "is missing");
  return context;
}
