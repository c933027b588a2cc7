import { readDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { ATTENTION, ENDS, GATED, likeLlama, NORMS } from "./llama.ts";

/** StableLM 3B and StableLM 2, whose larger model has a norm for every head. */
export const stablelm: Family = (config) => {
  const decoder = readDecoder(config, {
    architecture: "stablelm",
    norm: "layer",
    epsilon: { key: "layer_norm_eps", fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "silu" },
    rope: { share: { key: "partial_rotary_factor", fallback: 0.25 } },
    tied: false,
  });
  return likeLlama(decoder, {
    ...ENDS,
    ...NORMS,
    ...ATTENTION,
    ...GATED,
    "layers.*.self_attn.q_layernorm.norms.#": "blk.*.attn_q_norm",
    "layers.*.self_attn.k_layernorm.norms.#": "blk.*.attn_k_norm",
  });
};
