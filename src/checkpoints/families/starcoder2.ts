import { decoderFamily } from "./decoder-family.ts";
import { ATTENTION, ENDS, likeLlama, NORMS } from "./llama.ts";
import { expectSetting } from "./settings.ts";

/** StarCoder2. */
export const starcoder2 = decoderFamily({
  keys: {
    architecture: "starcoder2",
    norm: "layer",
    epsilon: { key: "norm_epsilon", fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "gelu_pytorch_tanh" },
    rope: {},
    hasWindow: () => true,
    tied: true,
  },
  modelClass: "Starcoder2ForCausalLM",
  translate(decoder, config) {
    expectSetting(config, "norm_type", "layer_norm");
    expectSetting(config, "mlp_type", "default");
    return likeLlama(decoder, {
      ...ENDS,
      ...NORMS,
      ...ATTENTION,
      "layers.*.mlp.c_fc": "blk.*.ffn_up",
      "layers.*.mlp.c_proj": "blk.*.ffn_down",
    });
  },
  own: ({ layers: [first] }) => ({ use_bias: first?.attention.q.bias !== undefined }),
});
