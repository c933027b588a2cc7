import { transposed } from "./changes.ts";
import { decoderFamily } from "./decoder-family.ts";
import type { Module } from "./family.ts";
import { expectSetting } from "./settings.ts";

/** Modules that are convolutions there: their matrices have inputs as rows. */
const MATRICES = {
  "h.*.attn.c_attn": "blk.*.attn_qkv",
  "h.*.attn.c_proj": "blk.*.attn_output",
  "h.*.mlp.c_fc": "blk.*.ffn_up",
  "h.*.mlp.c_proj": "blk.*.ffn_down",
} as const;

/** GPT-2. */
export const gpt2 = decoderFamily({
  keys: {
    architecture: "gpt2",
    names: {
      embedding_length: ["n_embd"],
      feed_forward_length: ["n_inner"],
      block_count: ["n_layer"],
      context_length: ["n_positions", "n_ctx"],
      "attention.head_count": ["n_head"],
    },
    widening: 4,
    norm: "layer",
    epsilon: { key: "layer_norm_epsilon", fallback: 1e-5 },
    activation: { key: "activation_function", fallback: "gelu_new" },
    tied: true,
  },
  modelClass: "GPT2LMHeadModel",
  translate({ keys, tied }, config) {
    expectSetting(config, "scale_attn_weights", true);
    expectSetting(config, "scale_attn_by_inverse_layer_idx", false);
    const modules = transposed(Object.values(MATRICES));
    const matrices = Object.keys(MATRICES).map((name, i) => [name, modules[i] as Module] as const);
    return {
      metadata: keys.entries,
      prefixes: ["transformer."],
      modules: {
        wte: "token_embd",
        wpe: "position_embd",
        "h.*.ln_1": "blk.*.attn_norm",
        "h.*.ln_2": "blk.*.ffn_norm",
        ...Object.fromEntries(matrices),
        ln_f: "output_norm",
        lm_head: "output",
      },
      // Masks.
      derived: ["h.*.attn.bias", "h.*.attn.masked_bias"],
      tied,
    };
  },
});
