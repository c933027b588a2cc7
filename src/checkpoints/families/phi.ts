import { decoderFamily } from "./decoder-family.ts";
import { ENDS, likeLlama, NORMS } from "./llama.ts";

/** Phi-1, Phi-1.5, Phi-2. */
export const phi = decoderFamily({
  keys: {
    architecture: "phi2",
    widening: 4,
    norm: "layer",
    epsilon: { key: "layer_norm_eps", fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "gelu_new" },
    rope: { share: { key: "partial_rotary_factor", fallback: 0.5 } },
    tied: false,
  },
  modelClass: "PhiForCausalLM",
  translate: (decoder) =>
    likeLlama(decoder, {
      ...ENDS,
      "layers.*.input_layernorm": "blk.*.attn_norm",
      "layers.*.self_attn.q_proj": "blk.*.attn_q",
      "layers.*.self_attn.k_proj": "blk.*.attn_k",
      "layers.*.self_attn.v_proj": "blk.*.attn_v",
      "layers.*.self_attn.dense": "blk.*.attn_output",
      "layers.*.mlp.fc1": "blk.*.ffn_up",
      "layers.*.mlp.fc2": "blk.*.ffn_down",
      final_layernorm: "output_norm",
    }),
});

/** Phi-3 to Phi-4-mini: queries, keys and values in one matrix, gate and up in another, as in GGUF. */
export const phi3 = decoderFamily({
  keys: {
    architecture: "phi3",
    norm: "rms",
    epsilon: { key: "rms_norm_eps", fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "silu" },
    rope: {},
    hasWindow: () => true,
    tied: false,
  },
  modelClass: "Phi3ForCausalLM",
  translate: (decoder) =>
    likeLlama(decoder, {
      ...ENDS,
      ...NORMS,
      "layers.*.self_attn.qkv_proj": "blk.*.attn_qkv",
      "layers.*.self_attn.o_proj": "blk.*.attn_output",
      "layers.*.mlp.gate_up_proj": "blk.*.ffn_up",
      "layers.*.mlp.down_proj": "blk.*.ffn_down",
    }),
  // The usual one is a token that smaller vocabularies lack.
  own: () => ({ pad_token_id: null }),
});
