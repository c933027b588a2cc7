import { UnsupportedError } from "../../base/errors.ts";
import type { ModelSpec } from "../../models/model.ts";
import type { JsonView } from "../../text/json-view.ts";
import type { Decoder, DecoderKeys } from "./decoder.ts";
import { decoderFamily, hasWindows } from "./decoder-family.ts";
import type { Module, Settings, Translation } from "./family.ts";
import { MAX_DIMENSION } from "./settings.ts";

/** How config.json says what all are like. */
export const LLAMA: DecoderKeys = {
  architecture: "llama",
  norm: "rms",
  epsilon: { key: "rms_norm_eps", fallback: 1e-6 },
  activation: { key: "hidden_act", fallback: "silu" },
  rope: {},
  tied: false,
};

/** Modules of attention with a projection for each of queries, keys and values. */
export const ATTENTION: Readonly<Record<string, Module>> = {
  "layers.*.self_attn.q_proj": "blk.*.attn_q",
  "layers.*.self_attn.k_proj": "blk.*.attn_k",
  "layers.*.self_attn.v_proj": "blk.*.attn_v",
  "layers.*.self_attn.o_proj": "blk.*.attn_output",
};

/** Modules of a feed-forward block with a gate. */
export const GATED: Readonly<Record<string, Module>> = {
  "layers.*.mlp.gate_proj": "blk.*.ffn_gate",
  "layers.*.mlp.up_proj": "blk.*.ffn_up",
  "layers.*.mlp.down_proj": "blk.*.ffn_down",
};

/** Norms before both blocks and after the last layer. */
export const NORMS: Readonly<Record<string, Module>> = {
  "layers.*.input_layernorm": "blk.*.attn_norm",
  "layers.*.post_attention_layernorm": "blk.*.ffn_norm",
  norm: "output_norm",
};

/** Norms of the heads of queries and keys. */
export const HEAD_NORMS: Readonly<Record<string, Module>> = {
  "layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
  "layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
};

/** What goes in and comes out. */
export const ENDS: Readonly<Record<string, Module>> = { embed_tokens: "token_embd", lm_head: "output" };

const MODULES = { ...ENDS, ...NORMS, ...ATTENTION, ...GATED };

/** The rest of a translation that is like Llama's. */
export function likeLlama(
  { keys, vectors, tied }: Decoder,
  modules: Translation["modules"] = MODULES,
): Translation {
  // Tables of frequencies are in old files.
  const derived = ["layers.*.self_attn.rotary_emb.inv_freq"];
  return { metadata: keys.entries, prefixes: ["model."], modules, derived, vectors, tied };
}

/** Which matrices have biases, as other loaders are told. */
const biases = ({ layers: [first] }: ModelSpec): Settings => ({
  attention_bias: first?.attention.q.bias !== undefined,
  mlp_bias: first?.feedForward.down.bias !== undefined,
});

/** Llama 1 to 3. */
export const llama = decoderFamily({
  keys: LLAMA,
  modelClass: "LlamaForCausalLM",
  translate: (decoder) => likeLlama(decoder),
  own: biases,
});

/** Mistral: a Llama of which all layers may see a window. */
export const mistral = decoderFamily({
  keys: { ...LLAMA, hasWindow: () => true },
  modelClass: "MistralForCausalLM",
  translate: (decoder) => likeLlama(decoder),
  own: biases,
});

/** Of Qwen, from layer `max_window_layers` on, if at all. */
export const qwenWindow = (config: JsonView, layer: number) =>
  config.bool("use_sliding_window") === true &&
  layer >= (config.integer("max_window_layers", 0, MAX_DIMENSION) ?? 28);

const usesWindow = (spec: ModelSpec): Settings => ({ use_sliding_window: hasWindows(spec) });

/** Qwen2 and Qwen2.5. */
export const qwen2 = decoderFamily({
  keys: { ...LLAMA, architecture: "qwen2", hasWindow: qwenWindow },
  modelClass: "Qwen2ForCausalLM",
  translate: (decoder) => likeLlama(decoder),
  own: usesWindow,
});

/** Qwen3. */
export const qwen3 = decoderFamily({
  keys: { ...LLAMA, architecture: "qwen3", headDim: 128, hasWindow: qwenWindow },
  modelClass: "Qwen3ForCausalLM",
  translate: (decoder) => likeLlama(decoder, { ...MODULES, ...HEAD_NORMS }),
  own: (spec) => ({ ...biases(spec), ...usesWindow(spec) }),
});

/** Of SmolLM3's layers, every so many one does not rotate; files of other steps are not known. */
const NO_ROPE_STEP = 4;

const isStill = (layer: number) => (layer + 1) % NO_ROPE_STEP === 0;

/** SmolLM3. */
export const smollm3 = decoderFamily({
  keys: {
    ...LLAMA,
    architecture: "smollm3",
    rope: { base: { key: "rope_theta", fallback: 2_000_000 } },
    hasWindow: (view, layer) => view.bool("use_sliding_window") === true && isStill(layer),
    tied: true,
  },
  modelClass: "SmolLM3ForCausalLM",
  translate(decoder, config) {
    expectUsualSteps(config, decoder.layers);
    return likeLlama(decoder);
  },
  own: (spec) => ({ ...biases(spec), ...usesWindow(spec) }),
});

function expectUsualSteps(config: JsonView, layers: number): void {
  const step = config.integer("no_rope_layer_interval", 1, MAX_DIMENSION) ?? NO_ROPE_STEP;
  const listed = config.list("no_rope_layers").slice(0, layers);
  const usual =
    listed.length > 0
      ? listed.every((rotates, n) => rotates === (isStill(n) ? 0 : 1))
      : step === NO_ROPE_STEP;
  if (usual) return;
  throw new UnsupportedError(
    `${config.file}: no_rope_layers other than every fourth layer are not supported`,
  );
}
