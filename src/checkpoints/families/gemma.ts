import { UnsupportedError } from "../../base/errors.ts";
import type { ModelSpec } from "../../models/model.ts";
import type { JsonView } from "../../text/json-view.ts";
import { increased } from "./changes.ts";
import type { Decoder, DecoderKeys } from "./decoder.ts";
import { decoderFamily } from "./decoder-family.ts";
import type { Family, Settings } from "./family.ts";
import { ATTENTION, ENDS, GATED, likeLlama } from "./llama.ts";
import { expectSetting, MAX_DIMENSION, positive, shortest } from "./settings.ts";

const GEMMA: DecoderKeys = {
  architecture: "gemma",
  headDim: 256,
  norm: "rms",
  epsilon: { key: "rms_norm_eps", fallback: 1e-6 },
  // What `hidden_act` says of the first files is wrong.
  activation: { key: "hidden_activation", fallback: "gelu_pytorch_tanh" },
  rope: {},
  tied: true,
};

const SHARED = { ...ENDS, ...ATTENTION, ...GATED, norm: increased("output_norm") };

/** Norms on both sides of the blocks. */
const AROUND = {
  ...SHARED,
  "layers.*.input_layernorm": increased("blk.*.attn_norm"),
  "layers.*.post_attention_layernorm": increased("blk.*.post_attention_norm"),
  "layers.*.pre_feedforward_layernorm": increased("blk.*.ffn_norm"),
  "layers.*.post_feedforward_layernorm": increased("blk.*.post_ffw_norm"),
};

const HEAD_NORMS = {
  "layers.*.self_attn.q_norm": increased("blk.*.attn_q_norm"),
  "layers.*.self_attn.k_norm": increased("blk.*.attn_k_norm"),
};

/** Gemma 1. */
export const gemma = decoderFamily({
  keys: GEMMA,
  modelClass: "GemmaForCausalLM",
  translate: (decoder) =>
    likeLlama(decoder, {
      ...SHARED,
      "layers.*.input_layernorm": increased("blk.*.attn_norm"),
      "layers.*.post_attention_layernorm": increased("blk.*.ffn_norm"),
    }),
});

/** Gemma 2. */
export const gemma2 = decoderFamily({
  keys: { ...GEMMA, architecture: "gemma2", hasWindow: (_, layer) => layer % 2 === 0, window: 4096 },
  modelClass: "Gemma2ForCausalLM",
  translate(decoder, config) {
    writeScale(decoder, config);
    writeCaps(decoder, config);
    return likeLlama(decoder, AROUND);
  },
  own: (spec) => ({
    ...scaleSetting(spec),
    attn_logit_softcapping: shortest(spec.layers[0]?.attention.softcap ?? ATTENTION_CAP),
    final_logit_softcapping: shortest(spec.output.softcap ?? OUTPUT_CAP),
  }),
});

const [ATTENTION_CAP, OUTPUT_CAP] = [50, 30];

function writeCaps({ keys }: Decoder, config: JsonView): void {
  for (const [name, usual] of [
    ["attn_logit_softcapping", ATTENTION_CAP],
    ["final_logit_softcapping", OUTPUT_CAP],
  ] as const) {
    if (config.json[name] === null) {
      throw new UnsupportedError(`${config.file}: a Gemma 2 without ${name} is not supported`);
    }
    keys.real(name, positive(config, name, usual));
  }
}

/** Gemma 3, text alone. */
export const gemma3Text = decoderFamily({
  keys: {
    ...GEMMA,
    architecture: "gemma3",
    sizes: {
      vocab_size: 262208,
      "attention.head_count": 8,
      context_length: 131072,
    },
    kvHeads: (view, heads) => view.integer("num_key_value_heads", 1, heads) ?? Math.min(4, heads),
    rope: {
      base: { key: "rope_theta", fallback: 1_000_000 },
      parameters: (config) => config.object("rope_parameters")?.object("full_attention"),
    },
    hasWindow: (config, layer) => (layer + 1) % windowPeriod(config) !== 0,
    window: 4096,
  },
  modelClass: "Gemma3ForCausalLM",
  translate(decoder, config) {
    expectSetting(config, "use_bidirectional_attention", false);
    writeScale(decoder, config);
    writeLocalRotation(decoder, config);
    writeCap(decoder, config);
    return likeLlama(decoder, { ...AROUND, ...HEAD_NORMS });
  },
  own(spec) {
    const local = spec.layers.find(({ attention }) => attention.window !== undefined)?.attention.rope;
    const { softcap } = spec.output;
    return {
      ...scaleSetting(spec),
      ...(local === undefined ? {} : { rope_local_base_freq: shortest(local.base) }),
      ...(softcap === undefined ? {} : { final_logit_softcapping: shortest(softcap) }),
    };
  },
});

/** Gemma 3 with images, of which the text model is run. */
export const gemma3: Family = {
  read(config) {
    const text = config.object("text_config");
    if (text === undefined) throw config.error("text_config", "is missing");
    const parts = ["vision_tower.", "multi_modal_projector."];
    return {
      ...gemma3Text.read(text),
      prefixes: ["language_model.model.", "language_model.", "model.language_model."],
      others: [...parts, ...parts.map((part) => `model.${part}`)],
    };
  },
};

/** Of so many layers the last one sees all positions. */
function windowPeriod(config: JsonView): number {
  return (
    config.integer("sliding_window_pattern", 1, MAX_DIMENSION) ??
    config.integer("_sliding_window_pattern", 1, MAX_DIMENSION) ??
    6
  );
}

function writeLocalRotation({ keys }: Decoder, config: JsonView): void {
  const local = config.object("rope_parameters")?.object("sliding_attention");
  if (local !== undefined) expectSetting(local, "rope_type", "default");
  keys.real(
    "rope.freq_base_swa",
    local === undefined
      ? positive(config, "rope_local_base_freq", 10_000)
      : positive(local, "rope_theta", 10_000),
  );
}

function writeCap({ keys }: Decoder, config: JsonView): void {
  if (config.get("attn_logit_softcapping") !== undefined) {
    throw new UnsupportedError(`${config.file}: attn_logit_softcapping of Gemma 3 is not supported`);
  }
  if (config.get("final_logit_softcapping") !== undefined) {
    keys.real("final_logit_softcapping", positive(config, "final_logit_softcapping"));
  }
}

function writeScale({ keys }: Decoder, config: JsonView): void {
  keys.real("attention.scale", 1 / Math.sqrt(positive(config, "query_pre_attn_scalar", 256)));
}

function scaleSetting({ layers: [first] }: ModelSpec): Settings {
  return first === undefined
    ? {}
    : { query_pre_attn_scalar: Number((first.attention.scale ** -2).toPrecision(6)) };
}
