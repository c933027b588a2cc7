import { UnsupportedError } from "../../base/errors.ts";
import type { Decoder } from "./decoder.ts";
import { decoderFamily } from "./decoder-family.ts";
import { MAX_DIMENSION } from "./settings.ts";

/** OPT, and Galactica, which is one without biases. */
export const opt = decoderFamily({
  keys: {
    architecture: "opt",
    names: { feed_forward_length: ["ffn_dim"] },
    norm: "layer",
    // Never in the configuration: the default of the framework.
    epsilon: { key: "layer_norm_eps", fallback: 1e-5 },
    activation: { key: "activation_function", fallback: "relu" },
    tied: true,
  },
  modelClass: "OPTForCausalLM",
  translate(decoder, config) {
    const { keys, hiddenSize, tied } = decoder;
    keys.size(
      "token_embedding_length",
      config.integer("word_embed_proj_dim", 1, MAX_DIMENSION) ?? hiddenSize,
    );
    const isPreNorm = config.bool("do_layer_norm_before") ?? true;
    keys.flag("post_norm", !isPreNorm);
    if (isPreNorm && config.bool("_remove_final_layer_norm") === true) {
      throw new UnsupportedError(`${config.file}: an OPT without its last norm is not supported`);
    }
    const hasNormWeights = config.bool("layer_norm_elementwise_affine") ?? true;
    return {
      metadata: keys.entries,
      prefixes: ["model.decoder.", "decoder."],
      modules: {
        embed_tokens: "token_embd",
        embed_positions: "position_embd",
        project_in: "token_embd_proj",
        project_out: "output_proj",
        "layers.*.self_attn_layer_norm": "blk.*.attn_norm",
        "layers.*.self_attn.q_proj": "blk.*.attn_q",
        "layers.*.self_attn.k_proj": "blk.*.attn_k",
        "layers.*.self_attn.v_proj": "blk.*.attn_v",
        "layers.*.self_attn.out_proj": "blk.*.attn_output",
        "layers.*.final_layer_norm": "blk.*.ffn_norm",
        "layers.*.fc1": "blk.*.ffn_up",
        "layers.*.fc2": "blk.*.ffn_down",
        final_layer_norm: "output_norm",
        lm_head: "output",
      },
      vectors: hasNormWeights ? new Map() : plainNorms(decoder, isPreNorm),
      tied,
    };
  },
  own: ({ embedding, layers: [first] }) => ({
    word_embed_proj_dim: embedding.table.cols,
    do_layer_norm_before: first?.attention.inputNorm !== undefined,
    enable_bias: first?.attention.q.bias !== undefined,
  }),
});

/** Weights of 1 for norms that have none. */
function plainNorms({ layers, hiddenSize }: Decoder, isPreNorm: boolean): ReadonlyMap<string, Float32Array> {
  const ones = new Float32Array(hiddenSize).fill(1);
  const names = Array.from({ length: layers }, (_, n) => [`blk.${n}.attn_norm`, `blk.${n}.ffn_norm`]).flat();
  if (isPreNorm) names.push("output_norm");
  return new Map(names.map((name) => [`${name}.weight`, ones]));
}
