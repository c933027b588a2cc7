/**
 * Models as GGUF has them, written as Hugging Face has them: names, orders of rows, settings. The other way round than the
 * library, and independent of it.
 */

import { at } from "../../src/base/assert.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { RandomModel } from "../../src/models/random-model.ts";
import { gptOssTensors, splitExperts } from "./expert-folders.ts";

/** A matrix [rows][cols], or a vector of one row. */
export interface Values {
  readonly shape: readonly number[];
  readonly rows: readonly Float32Array[];
}

/** A checkpoint before it is written. */
export interface Folder {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, Values>;
}

/** How a family writes what it has of its own. */
interface Writer {
  /** Names of GGUF's modules; `N` is a layer. */
  readonly names: Readonly<Record<string, string>>;
  readonly prefix: string;
  /** Modules that stand without the prefix. */
  readonly bare?: readonly string[];
  config(model: Source): Record<string, unknown>;
  /** Other values, or several tensors, for a tensor of GGUF's. */
  change?(model: Source, module: string, values: Values): Values | Readonly<Record<string, Values>>;
  /** What is otherwise made of several tensors. */
  finish?(tensors: ReadonlyMap<string, Values>): ReadonlyMap<string, Values>;
}

/** What a GGUF-like model says, by names without the architecture. */
export class Source {
  constructor(private readonly model: RandomModel<"F32">) {}

  get architecture(): string {
    return String(this.value("general.architecture"));
  }

  private value(key: string): unknown {
    const found = this.model.metadata.get(key) as GgufValue | undefined;
    return found !== undefined && "value" in found ? found.value : undefined;
  }

  get(key: string): number {
    return Number(this.value(`${this.architecture}.${key}`));
  }

  flag(key: string): boolean {
    return this.value(`${this.architecture}.${key}`) === true;
  }

  has(tensor: string): boolean {
    return this.model.tensors.some(({ name }) => name === tensor);
  }

  get heads(): number {
    return this.get("attention.head_count");
  }

  get kvHeads(): number {
    return this.get("attention.head_count_kv");
  }

  get headDim(): number {
    const own = this.get("attention.key_length");
    return Number.isNaN(own) ? this.get("embedding_length") / this.heads : own;
  }

  /** The name of the function that the model has for GELU. */
  get gelu(): string {
    const own = this.value(`${this.architecture}.feed_forward.activation`);
    return own === "gelu_erf" ? "gelu" : "gelu_pytorch_tanh";
  }

  tensors(): (readonly [string, Values])[] {
    return this.model.tensors.map(({ name, shape, data }) => {
      const bytes = Buffer.concat([...data()].map((chunk) => Buffer.from(chunk)));
      const all = new Float32Array(new Uint8Array(bytes).buffer);
      const cols = at(shape, 0);
      const rows = Array.from({ length: all.length / cols }, (_, r) => all.slice(r * cols, (r + 1) * cols));
      return [name, { shape: [...shape].reverse(), rows }] as const;
    });
  }
}

/** The model as a checkpoint of a family. */
export function folderOf(type: string, model: RandomModel<"F32">): Folder {
  const source = new Source(model);
  const older = OLDER[type];
  const writer = WRITERS[older?.type ?? type] as Writer;
  const tensors = new Map<string, Values>();
  for (const [name, values] of source.tensors()) {
    if (name.startsWith("rope_factors")) continue;
    const parameter = name.slice(name.lastIndexOf("."));
    const whole = name.slice(0, -parameter.length);
    const [, layer] = /^blk\.(\d+)\./.exec(whole) ?? [];
    const module = layer === undefined ? whole : whole.replace(`blk.${layer}.`, "");
    const own = writer.names[module];
    if (own === undefined) throw new Error(`${type} has no name for ${module}`);
    const prefix = writer.bare?.includes(module) ? "" : writer.prefix;
    const changed = writer.change?.(source, module, values) ?? values;
    const all = isValues(changed) ? { "": changed } : changed;
    for (const [more, one] of Object.entries(all)) {
      tensors.set(`${prefix}${own.replace("N", layer ?? "")}${more}${parameter}`, one);
    }
  }
  const tied = !source.has("output.weight");
  const finished = writer.finish?.(tensors) ?? tensors;
  const config = writer.config(source);
  return {
    config: { model_type: type, tie_word_embeddings: tied, ...(older?.config(config) ?? config) },
    tensors: finished,
  };
}

function isValues(value: Values | Readonly<Record<string, Values>>): value is Values {
  return "rows" in value;
}

/** Rows, or the elements of a vector, in another order: `from(i)` is the one that comes to place i. */
function reordered({ shape, rows }: Values, from: (i: number) => number): Values {
  const [row] = rows as [Float32Array];
  if (shape.length === 1) return { shape, rows: [row.map((_, i) => at(row, from(i)))] };
  return { shape, rows: rows.map((_, i) => at(rows, from(i))) };
}

/** Within each head: dimensions that rotate together lie side by side in GGUF, half a head apart in the checkpoint. */
const unpaired = (values: Values, headDim: number) =>
  reordered(values, (i) => {
    const [head, d] = [Math.floor(i / headDim), i % headDim];
    const half = headDim / 2;
    return head * headDim + (d < half ? 2 * d : 2 * (d - half) + 1);
  });

const decreased = ({ shape, rows }: Values): Values => ({
  shape,
  rows: rows.map((row) => row.map((w) => w - 1)),
});

function transposedOf({ shape, rows }: Values): Values {
  const [height = 0, width = 0] = shape;
  const columns = Array.from({ length: width }, (_, c) => Float32Array.from(rows, (row) => at(row, c)));
  return { shape: [width, height], rows: columns };
}

/** Queries, keys, values → for each key-value head its queries, its keys, its values. */
function interleavedHeads({ heads, kvHeads, headDim }: Source, values: Values): Values {
  const perGroup = heads / kvHeads;
  return reordered(values, (i) => {
    const head = Math.floor(i / headDim);
    const [group, place] = [Math.floor(head / (perGroup + 2)), head % (perGroup + 2)];
    const from = place < perGroup ? group * perGroup + place : heads + (place - perGroup) * kvHeads + group;
    return from * headDim + (i % headDim);
  });
}

/** Queries, keys and values, each on its own. */
function splitHeads({ heads, kvHeads, headDim }: Source, { shape, rows }: Values): Record<string, Values> {
  let start = 0;
  const parts = Object.entries({ q_proj: heads, k_proj: kvHeads, v_proj: kvHeads }).map(([name, count]) => {
    const [from, size] = [start, count * headDim];
    start += size;
    const own = shape.length === 1 ? [at(rows, 0).slice(from, start)] : rows.slice(from, start);
    return [name, { shape: [size, ...shape.slice(1)], rows: own }] as const;
  });
  return Object.fromEntries(parts);
}

const LLAMA_NAMES = {
  token_embd: "embed_tokens",
  attn_norm: "layers.N.input_layernorm",
  attn_q: "layers.N.self_attn.q_proj",
  attn_k: "layers.N.self_attn.k_proj",
  attn_v: "layers.N.self_attn.v_proj",
  attn_output: "layers.N.self_attn.o_proj",
  ffn_norm: "layers.N.post_attention_layernorm",
  ffn_gate: "layers.N.mlp.gate_proj",
  ffn_up: "layers.N.mlp.up_proj",
  ffn_down: "layers.N.mlp.down_proj",
  output_norm: "norm",
  output: "lm_head",
};

const HEAD_NORMS = { attn_q_norm: "layers.N.self_attn.q_norm", attn_k_norm: "layers.N.self_attn.k_norm" };

const GEMMA2_NAMES = {
  ...LLAMA_NAMES,
  post_attention_norm: "layers.N.post_attention_layernorm",
  ffn_norm: "layers.N.pre_feedforward_layernorm",
  post_ffw_norm: "layers.N.post_feedforward_layernorm",
};

/** The sizes under their usual names. */
const sizes = (model: Source) => ({
  vocab_size: model.get("vocab_size"),
  hidden_size: model.get("embedding_length"),
  intermediate_size: model.get("feed_forward_length"),
  num_hidden_layers: model.get("block_count"),
  num_attention_heads: model.heads,
  num_key_value_heads: model.kvHeads,
  head_dim: model.headDim,
  max_position_embeddings: model.get("context_length"),
});
const rms = (model: Source) => ({ rms_norm_eps: model.get("attention.layer_norm_rms_epsilon") });
const layerNorm = (model: Source) => model.get("attention.layer_norm_epsilon");
const share = (model: Source) => model.get("rope.dimension_count") / model.headDim;

const isQueryOrKey = (module: string) => module === "attn_q" || module === "attn_k";

const llama: Writer = {
  names: LLAMA_NAMES,
  prefix: "model.",
  bare: ["output"],
  config: (model) => ({ ...sizes(model), ...rms(model), hidden_act: "silu", rope_theta: 10000 }),
  change: (model, module, values) => (isQueryOrKey(module) ? unpaired(values, model.headDim) : values),
};

const qwen: Writer = {
  names: { ...LLAMA_NAMES, ...HEAD_NORMS },
  prefix: "model.",
  bare: ["output"],
  config: (model) => ({
    ...sizes(model),
    ...rms(model),
    hidden_act: "silu",
    use_sliding_window: false,
    sliding_window: 8,
  }),
};

const gemma: Writer = {
  names: LLAMA_NAMES,
  prefix: "model.",
  config: (model) => ({ ...sizes(model), ...rms(model), hidden_act: "gelu", hidden_activation: null }),
  change: (_, module, values) => (module.endsWith("norm") ? decreased(values) : values),
};

const gemma2: Writer = {
  ...gemma,
  names: { ...GEMMA2_NAMES, ...HEAD_NORMS },
  config: (model) => ({
    ...sizes(model),
    ...rms(model),
    hidden_activation: "gelu_pytorch_tanh",
    attn_logit_softcapping: model.get("attn_logit_softcapping"),
    final_logit_softcapping: model.get("final_logit_softcapping"),
    query_pre_attn_scalar: model.headDim,
    sliding_window: model.get("attention.sliding_window"),
  }),
};

const hasWindow = (model: Source) => !Number.isNaN(model.get("attention.sliding_window"));

const gemma3Text = (model: Source) => ({
  ...sizes(model),
  ...rms(model),
  hidden_activation: "gelu_pytorch_tanh",
  query_pre_attn_scalar: model.headDim,
  rope_local_base_freq: 10000,
  rope_theta: model.get("rope.freq_base"),
  ...(hasWindow(model)
    ? {
        rope_scaling: { rope_type: "linear", factor: model.get("rope.scaling.factor") },
        sliding_window: model.get("attention.sliding_window"),
      }
    : { layer_types: Array.from({ length: model.get("block_count") }, () => "full_attention") }),
});

/** What config.json says of experts; how many there are has a name of its own. */
const experts = (model: Source, count: string) => ({
  [count]: model.get("expert_count"),
  num_experts_per_tok: model.get("expert_used_count"),
});

const QWEN_EXPERTS: Readonly<Record<string, string>> = {
  ffn_gate_exps: "gate_proj",
  ffn_up_exps: "up_proj",
  ffn_down_exps: "down_proj",
};

const QWEN_MOE_NAMES = {
  ...qwen.names,
  ffn_gate_inp: "layers.N.mlp.gate",
  ffn_gate_exps: "layers.N.mlp.experts",
  ffn_up_exps: "layers.N.mlp.experts",
  ffn_down_exps: "layers.N.mlp.experts",
  ffn_gate_shexp: "layers.N.mlp.shared_expert.gate_proj",
  ffn_up_shexp: "layers.N.mlp.shared_expert.up_proj",
  ffn_down_shexp: "layers.N.mlp.shared_expert.down_proj",
  ffn_gate_inp_shexp: "layers.N.mlp.shared_expert_gate",
};

const qwenMoe: Writer = {
  ...qwen,
  names: QWEN_MOE_NAMES,
  config: (model) => ({
    ...qwen.config(model),
    ...experts(model, "num_experts"),
    moe_intermediate_size: model.get("expert_feed_forward_length"),
    norm_topk_prob: model.architecture === "qwen3moe",
    decoder_sparse_step: 1,
    mlp_only_layers: [],
  }),
  change: (_, module, values) => {
    const name = QWEN_EXPERTS[module];
    if (name !== undefined) return splitExperts(values, name);
    return module === "ffn_gate_inp_shexp" ? { ...values, shape: [1, ...values.shape] } : values;
  },
};

const MIXTRAL_EXPERTS: Readonly<Record<string, string>> = {
  ffn_gate_exps: "w1",
  ffn_down_exps: "w2",
  ffn_up_exps: "w3",
};

type Config = Readonly<Record<string, unknown>>;

/** What first files of a family call it, and their settings. */
const OLDER: Readonly<Record<string, { readonly type: string; config(config: Config): Config }>> = {
  RefinedWeb: {
    type: "falcon",
    config: ({ new_decoder_architecture: _, multi_query: __, ...others }) => others,
  },
  RefinedWebModel: { type: "falcon", config: ({ new_decoder_architecture: _, ...others }) => others },
  stablelm_epoch: {
    type: "stablelm",
    config: ({ layer_norm_eps: norm_eps, partial_rotary_factor: rope_pct, ...others }) => ({
      ...others,
      norm_eps,
      rope_pct,
    }),
  },
};

const WRITERS: Readonly<Record<string, Writer>> = {
  llama,
  mistral: llama,
  mixtral: {
    ...llama,
    names: {
      ...LLAMA_NAMES,
      ffn_gate_inp: "layers.N.block_sparse_moe.gate",
      ffn_gate_exps: "layers.N.block_sparse_moe.experts",
      ffn_up_exps: "layers.N.block_sparse_moe.experts",
      ffn_down_exps: "layers.N.block_sparse_moe.experts",
    },
    config: (model) => ({ ...llama.config(model), ...experts(model, "num_local_experts") }),
    change: (model, module, values) => {
      const name = MIXTRAL_EXPERTS[module];
      if (name !== undefined) return splitExperts(values, name);
      return isQueryOrKey(module) ? unpaired(values, model.headDim) : values;
    },
  },
  qwen2_moe: {
    ...qwenMoe,
    config: (model) => ({
      ...qwenMoe.config(model),
      shared_expert_intermediate_size: model.get("expert_shared_feed_forward_length"),
    }),
  },
  qwen3_moe: qwenMoe,
  gpt_oss: {
    names: {
      ...LLAMA_NAMES,
      post_attention_norm: "layers.N.post_attention_layernorm",
      attn_sinks: "layers.N.self_attn.sinks",
      ffn_gate_inp: "layers.N.mlp.router",
      ffn_gate_exps: "layers.N.mlp.experts.gate",
      ffn_up_exps: "layers.N.mlp.experts.up",
      ffn_down_exps: "layers.N.mlp.experts.down",
    },
    prefix: "model.",
    bare: ["output"],
    config: (model) => ({
      ...sizes(model),
      ...rms(model),
      ...experts(model, "num_local_experts"),
      intermediate_size: model.get("expert_feed_forward_length"),
      hidden_act: "silu",
      swiglu_limit: 7,
      rope_theta: model.get("rope.freq_base"),
      rope_scaling: {
        rope_type: "yarn",
        factor: model.get("rope.scaling.factor"),
        original_max_position_embeddings: model.get("rope.scaling.original_context_length"),
        beta_fast: 32,
        beta_slow: 1,
        truncate: true,
      },
      sliding_window: model.get("attention.sliding_window"),
    }),
    finish: gptOssTensors,
  },
  smollm3: {
    ...llama,
    config: (model) => ({
      ...sizes(model),
      ...rms(model),
      rope_theta: 10000,
      no_rope_layers: Array.from({ length: model.get("block_count") }, (_, n) => (n % 4 === 3 ? 0 : 1)),
    }),
  },
  qwen2: qwen,
  qwen3: qwen,
  gemma,
  gemma2,
  gemma3_text: { ...gemma2, config: gemma3Text },
  gemma3: {
    ...gemma2,
    prefix: "language_model.model.",
    config: (model) => ({
      text_config: { model_type: "gemma3_text", ...gemma3Text(model) },
      vision_config: {},
    }),
  },
  phi: {
    names: {
      ...LLAMA_NAMES,
      attn_qkv: "layers.N.self_attn.",
      attn_output: "layers.N.self_attn.dense",
      ffn_up: "layers.N.mlp.fc1",
      ffn_down: "layers.N.mlp.fc2",
      output_norm: "final_layernorm",
    },
    prefix: "model.",
    bare: ["output"],
    config: (model) => ({
      ...sizes(model),
      num_key_value_heads: null,
      layer_norm_eps: layerNorm(model),
      hidden_act: model.gelu,
      partial_rotary_factor: share(model),
    }),
    change: (model, module, values) => (module === "attn_qkv" ? splitHeads(model, values) : values),
  },
  phi3: {
    names: { ...LLAMA_NAMES, attn_qkv: "layers.N.self_attn.qkv_proj", ffn_up: "layers.N.mlp.gate_up_proj" },
    prefix: "model.",
    bare: ["output"],
    config: (model) => ({ ...sizes(model), ...rms(model), sliding_window: null }),
  },
  stablelm: {
    names: {
      ...LLAMA_NAMES,
      attn_q_norm: "layers.N.self_attn.q_layernorm.norms",
      attn_k_norm: "layers.N.self_attn.k_layernorm.norms",
    },
    prefix: "model.",
    bare: ["output"],
    config: (model) => ({
      ...sizes(model),
      layer_norm_eps: layerNorm(model),
      partial_rotary_factor: share(model),
      use_parallel_residual: !model.has("blk.0.ffn_norm.weight"),
    }),
    change: (_, module, values) => {
      if (module !== "attn_q_norm" && module !== "attn_k_norm") return values;
      const { shape, rows } = values;
      return Object.fromEntries(rows.map((row, n) => [`.${n}`, { shape: shape.slice(1), rows: [row] }]));
    },
  },
  starcoder2: {
    names: { ...LLAMA_NAMES, ffn_up: "layers.N.mlp.c_fc", ffn_down: "layers.N.mlp.c_proj" },
    prefix: "model.",
    config: (model) => ({
      ...sizes(model),
      norm_epsilon: layerNorm(model),
      hidden_act: model.gelu,
      sliding_window: 4096,
    }),
  },
  gpt2: {
    names: {
      token_embd: "wte",
      position_embd: "wpe",
      attn_norm: "h.N.ln_1",
      attn_qkv: "h.N.attn.c_attn",
      attn_output: "h.N.attn.c_proj",
      ffn_norm: "h.N.ln_2",
      ffn_up: "h.N.mlp.c_fc",
      ffn_down: "h.N.mlp.c_proj",
      output_norm: "ln_f",
    },
    prefix: "",
    config: (model) => ({
      activation_function: "gelu_new",
      layer_norm_epsilon: layerNorm(model),
      n_ctx: model.get("context_length"),
      n_embd: model.get("embedding_length"),
      n_head: model.heads,
      n_inner: model.get("feed_forward_length"),
      n_layer: model.get("block_count"),
      n_positions: model.get("context_length"),
      vocab_size: model.get("vocab_size"),
    }),
    change: (_, module, values) =>
      values.shape.length === 2 && !module.endsWith("embd") ? transposedOf(values) : values,
  },
  gpt_neox: {
    names: {
      token_embd: "embed_in",
      attn_norm: "layers.N.input_layernorm",
      attn_qkv: "layers.N.attention.query_key_value",
      attn_output: "layers.N.attention.dense",
      ffn_norm: "layers.N.post_attention_layernorm",
      ffn_up: "layers.N.mlp.dense_h_to_4h",
      ffn_down: "layers.N.mlp.dense_4h_to_h",
      output_norm: "final_layer_norm",
      output: "embed_out",
    },
    prefix: "gpt_neox.",
    bare: ["output"],
    config: (model) => {
      const { head_dim: _, num_key_value_heads: __, ...usual } = sizes(model);
      return {
        ...usual,
        layer_norm_eps: layerNorm(model),
        hidden_act: model.gelu,
        rotary_pct: share(model),
        rotary_emb_base: 10000,
        use_parallel_residual: model.flag("use_parallel_residual"),
      };
    },
    change: (model, module, values) => (module === "attn_qkv" ? interleavedHeads(model, values) : values),
  },
  opt: {
    names: {
      token_embd: "embed_tokens",
      token_embd_proj: "project_in",
      position_embd: "embed_positions",
      attn_norm: "layers.N.self_attn_layer_norm",
      attn_q: "layers.N.self_attn.q_proj",
      attn_k: "layers.N.self_attn.k_proj",
      attn_v: "layers.N.self_attn.v_proj",
      attn_output: "layers.N.self_attn.out_proj",
      ffn_norm: "layers.N.final_layer_norm",
      ffn_up: "layers.N.fc1",
      ffn_down: "layers.N.fc2",
      output_norm: "final_layer_norm",
      output_proj: "project_out",
      output: "lm_head",
    },
    prefix: "model.decoder.",
    bare: ["output"],
    config: (model) => {
      const width = model.get("token_embedding_length");
      return {
        vocab_size: model.get("vocab_size"),
        hidden_size: model.get("embedding_length"),
        ffn_dim: model.get("feed_forward_length"),
        num_hidden_layers: model.get("block_count"),
        num_attention_heads: model.heads,
        max_position_embeddings: model.get("context_length"),
        word_embed_proj_dim: Number.isNaN(width) ? model.get("embedding_length") : width,
        do_layer_norm_before: !model.flag("post_norm"),
      };
    },
  },
  falcon: {
    names: {
      token_embd: "word_embeddings",
      attn_norm: "h.N.input_layernorm",
      attn_norm_2: "h.N.ln_attn",
      attn_qkv: "h.N.self_attention.query_key_value",
      attn_output: "h.N.self_attention.dense",
      ffn_up: "h.N.mlp.dense_h_to_4h",
      ffn_down: "h.N.mlp.dense_4h_to_h",
      output_norm: "ln_f",
      output: "lm_head",
    },
    prefix: "transformer.",
    bare: ["output"],
    config: (model) => ({
      vocab_size: model.get("vocab_size"),
      hidden_size: model.get("embedding_length"),
      ffn_hidden_size: model.get("feed_forward_length"),
      n_layer: model.get("block_count"),
      n_head: model.heads,
      n_head_kv: model.kvHeads,
      layer_norm_epsilon: layerNorm(model),
      max_position_embeddings: model.get("context_length"),
      activation: model.gelu,
      alibi: false,
      bias: false,
      multi_query: true,
      new_decoder_architecture: model.kvHeads > 1,
      parallel_attn: true,
    }),
    change: (model, module, values) => (module === "attn_qkv" ? interleavedHeads(model, values) : values),
  },
};
