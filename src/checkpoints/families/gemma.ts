import { UnsupportedError } from "../../base/errors.ts";
import type { JsonView } from "../../text/json-view.ts";
import { increased } from "./changes.ts";
import { type Decoder, type DecoderKeys, readDecoder } from "./decoder.ts";
import type { Family, Translation } from "./family.ts";
import { ATTENTION, ENDS, GATED, likeLlama } from "./llama.ts";
import { expectSetting, MAX_DIMENSION, positive } from "./settings.ts";

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
export const gemma: Family = (config) =>
  likeLlama(readDecoder(config, GEMMA), {
    ...SHARED,
    "layers.*.input_layernorm": increased("blk.*.attn_norm"),
    "layers.*.post_attention_layernorm": increased("blk.*.ffn_norm"),
  });

/** Gemma 2. */
export const gemma2: Family = (config) => {
  const decoder = readDecoder(config, {
    ...GEMMA,
    architecture: "gemma2",
    hasWindow: (_, layer) => layer % 2 === 0,
    window: 4096,
  });
  writeScale(decoder, config);
  for (const [name, usual] of [
    ["attn_logit_softcapping", 50],
    ["final_logit_softcapping", 30],
  ] as const) {
    if (config.json[name] === null) {
      throw new UnsupportedError(`${config.file}: a Gemma 2 without ${name} is not supported`);
    }
    decoder.keys.real(name, positive(config, name, usual));
  }
  return likeLlama(decoder, AROUND);
};

/** Gemma 3, text alone. */
export const gemma3Text: Family = (config) => gemma3Of(config);

/** Gemma 3 with images, of which the text model is run. */
export const gemma3: Family = (config) => {
  const text = config.object("text_config");
  if (text === undefined) throw config.error("text_config", "is missing");
  const parts = ["vision_tower.", "multi_modal_projector."];
  return {
    ...gemma3Of(text),
    prefixes: ["language_model.model.", "language_model.", "model.language_model."],
    others: [...parts, ...parts.map((part) => `model.${part}`)],
  };
};

function gemma3Of(config: JsonView): Translation {
  expectSetting(config, "use_bidirectional_attention", false);
  const period =
    config.integer("sliding_window_pattern", 1, MAX_DIMENSION) ??
    config.integer("_sliding_window_pattern", 1, MAX_DIMENSION) ??
    6;
  const rotations = config.object("rope_parameters");
  const decoder = readDecoder(config, {
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
      parameters: () => rotations?.object("full_attention"),
    },
    hasWindow: (_, layer) => (layer + 1) % period !== 0,
    window: 4096,
  });
  writeScale(decoder, config);
  const local = rotations?.object("sliding_attention");
  if (local !== undefined) expectSetting(local, "rope_type", "default");
  decoder.keys.real(
    "rope.freq_base_swa",
    local === undefined
      ? positive(config, "rope_local_base_freq", 10_000)
      : positive(local, "rope_theta", 10_000),
  );
  if (config.get("attn_logit_softcapping") !== undefined) {
    throw new UnsupportedError(`${config.file}: attn_logit_softcapping of Gemma 3 is not supported`);
  }
  if (config.get("final_logit_softcapping") !== undefined) {
    decoder.keys.real("final_logit_softcapping", positive(config, "final_logit_softcapping"));
  }
  return likeLlama(decoder, { ...AROUND, ...HEAD_NORMS });
}

function writeScale({ keys }: Decoder, config: JsonView): void {
  keys.real("attention.scale", 1 / Math.sqrt(positive(config, "query_pre_attn_scalar", 256)));
}
