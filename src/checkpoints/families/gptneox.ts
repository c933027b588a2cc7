import { groupedHeads } from "./changes.ts";
import { decoderFamily } from "./decoder-family.ts";

/** GPT-NeoX and Pythia: queries, keys and values of a head follow each other. */
export const gptneox = decoderFamily({
  keys: {
    architecture: "gptneox",
    norm: "layer",
    epsilon: { key: "layer_norm_eps", fallback: 1e-5 },
    activation: { key: "hidden_act", fallback: "gelu" },
    rope: {
      base: { key: "rotary_emb_base", fallback: 10_000 },
      share: { key: "rotary_pct", fallback: 0.25 },
    },
    tied: false,
  },
  modelClass: "GPTNeoXForCausalLM",
  translate({ keys, heads, headDim, vectors, tied }, config) {
    keys.flag("use_parallel_residual", config.bool("use_parallel_residual") ?? true);
    return {
      metadata: keys.entries,
      prefixes: ["gpt_neox."],
      modules: {
        embed_in: "token_embd",
        "layers.*.input_layernorm": "blk.*.attn_norm",
        "layers.*.attention.query_key_value": groupedHeads("blk.*.attn_qkv", heads, 1, headDim),
        "layers.*.attention.dense": "blk.*.attn_output",
        "layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "layers.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "layers.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
        final_layer_norm: "output_norm",
        embed_out: "output",
      },
      derived: [
        "layers.*.attention.bias",
        "layers.*.attention.masked_bias",
        "layers.*.attention.rotary_emb.inv_freq",
      ],
      vectors,
      tied,
    };
  },
  own: ({ layers: [first] }) => ({
    attention_bias: first?.attention.q.bias !== undefined,
    use_parallel_residual: first?.parallel === true,
  }),
});
