import type { JsonView } from "../../text/json-view.ts";
import { readDecoder } from "./decoder.ts";
import type { Family, Translation } from "./family.ts";
import { ATTENTION, ENDS, GATED, likeLlama, NORMS } from "./llama.ts";

/** StableLM 3B and StableLM 2, whose larger model has a norm for every head. */
export const stablelm: Family = (config) =>
  stablelmOf(config, { epsilon: "layer_norm_eps", share: "partial_rotary_factor" });

/** StableLM as its first files name settings. */
export const stablelmEpoch: Family = (config) =>
  stablelmOf(config, { epsilon: "norm_eps", share: "rope_pct" });

function stablelmOf(
  config: JsonView,
  names: { readonly epsilon: string; readonly share: string },
): Translation {
  const decoder = readDecoder(config, {
    architecture: "stablelm",
    norm: "layer",
    epsilon: { key: names.epsilon, fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "silu" },
    rope: { share: { key: names.share, fallback: 0.25 } },
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
}
