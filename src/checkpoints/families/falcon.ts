import type { ModelSpec } from "../../models/model.ts";
import type { JsonView } from "../../text/json-view.ts";
import { groupedHeads } from "./changes.ts";
import { decoderFamily } from "./decoder-family.ts";
import type { Module, Settings } from "./family.ts";
import { expectSetting, size } from "./settings.ts";

/** Falcon 7B, 40B and later: queries, keys and values in one matrix, a key-value head behind the queries that it serves. */
export const falcon = decoderFamily({
  keys: {
    architecture: "falcon",
    names: {
      embedding_length: ["hidden_size", "n_embed"],
      feed_forward_length: ["ffn_hidden_size"],
      block_count: ["num_hidden_layers", "n_layer"],
      "attention.head_count": ["num_attention_heads", "n_head"],
    },
    sizes: { context_length: 2048 },
    widening: 4,
    kvHeads: keyValueHeads,
    norm: "layer",
    epsilon: { key: "layer_norm_epsilon", fallback: 1e-5 },
    activation: { key: "activation", fallback: "gelu" },
    rope: {},
    tied: true,
  },
  modelClass: "FalconForCausalLM",
  translate({ keys, heads, kvHeads, headDim, vectors, tied }, config) {
    expectSetting(config, "alibi", false);
    // Side by side in all models of the new architecture, whatever this says.
    if (!isNew(config)) expectSetting(config, "parallel_attn", true);
    return {
      metadata: keys.entries,
      prefixes: ["transformer."],
      modules: {
        word_embeddings: "token_embd",
        ...(hasTwoNorms(config) ? { ...ONE_NORM, ...TWO_NORMS } : { ...TWO_NORMS, ...ONE_NORM }),
        "h.*.self_attention.query_key_value": groupedHeads(
          "blk.*.attn_qkv",
          kvHeads,
          Math.floor(heads / kvHeads),
          headDim,
        ),
        "h.*.self_attention.dense": "blk.*.attn_output",
        "h.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "h.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
        ln_f: "output_norm",
        lm_head: "output",
      },
      derived: ["h.*.self_attention.rotary_emb.inv_freq"],
      vectors,
      tied,
    };
  },
  own,
});

const ONE_NORM: Readonly<Record<string, Module>> = { "h.*.input_layernorm": "blk.*.attn_norm" };
const TWO_NORMS: Readonly<Record<string, Module>> = {
  "h.*.ln_mlp": "blk.*.attn_norm",
  "h.*.ln_attn": "blk.*.attn_norm_2",
};

/** The first files of the new architecture say so in their type. */
const isNew = (config: JsonView) =>
  config.bool("new_decoder_architecture") ?? config.string("model_type") === "RefinedWeb";

function keyValueHeads(config: JsonView, heads: number): number {
  if (!isNew(config) && (config.bool("multi_query") ?? true)) return 1;
  return size(config, ["num_kv_heads", "n_head_kv"], heads, heads);
}

/** In the new architecture each block has its own, unless the file says that they share one. */
function hasTwoNorms(config: JsonView): boolean {
  return isNew(config) && (config.integer("num_ln_in_parallel_attn", 1, 2) ?? 2) === 2;
}

function own({ config, layers: [first] }: ModelSpec): Settings {
  const norms = first?.feedForward.inputNorm === undefined ? 1 : 2;
  const isNew = norms === 2 || config.kvHeads > 1;
  return {
    alibi: false,
    bias: first?.attention.q.bias !== undefined,
    new_decoder_architecture: isNew,
    ...(isNew ? { num_kv_heads: config.kvHeads, num_ln_in_parallel_attn: norms } : { multi_query: true }),
    parallel_attn: true,
  };
}
