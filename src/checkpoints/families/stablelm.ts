import type { ModelSpec } from "../../models/model.ts";
import { type Decoder, type DecoderKeys, readDecoder } from "./decoder.ts";
import { decoderFamily } from "./decoder-family.ts";
import type { Family, Settings, Translation } from "./family.ts";
import { ATTENTION, ENDS, GATED, likeLlama, NORMS } from "./llama.ts";

const KEYS: DecoderKeys = {
  architecture: "stablelm",
  norm: "layer",
  epsilon: { key: "layer_norm_eps", fallback: 1e-5 },
  activation: { key: "hidden_act", fallback: "silu" },
  rope: { share: { key: "partial_rotary_factor", fallback: 0.25 } },
  tied: false,
};

/** StableLM 3B and StableLM 2, whose larger model has a norm for every head. */
export const stablelm = decoderFamily({ keys: KEYS, modelClass: "StableLmForCausalLM", translate, own });

/** StableLM as its first files name settings. */
export const stablelmEpoch: Family = {
  read: (config) =>
    translate(
      readDecoder(config, {
        ...KEYS,
        epsilon: { key: "norm_eps", fallback: 1e-5 },
        rope: { share: { key: "rope_pct", fallback: 0.25 } },
      }),
    ),
};

function translate(decoder: Decoder): Translation {
  return likeLlama(decoder, {
    ...ENDS,
    ...NORMS,
    ...ATTENTION,
    ...GATED,
    "layers.*.self_attn.q_layernorm.norms.#": "blk.*.attn_q_norm",
    "layers.*.self_attn.k_layernorm.norms.#": "blk.*.attn_k_norm",
  });
}

/** What the tensors tell here is told to other loaders. */
function own({ layers: [first] }: ModelSpec): Settings {
  return {
    use_qkv_bias: first?.attention.q.bias !== undefined,
    qk_layernorm: first?.attention.qNorm !== undefined,
    use_parallel_residual: first?.parallel === true,
  };
}
