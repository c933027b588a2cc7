/** What config.json says of a decoder: `readDecoder` the other way round. */

import type { ModelSpec } from "../../models/model.ts";
import { JsonView } from "../../text/json-view.ts";
import { type DecoderKeys, SIZES, type SizeKey } from "./decoder.ts";
import type { Settings, WrittenModel } from "./family.ts";
import { rotationSettings } from "./rope-settings.ts";
import { activationName, shortest } from "./settings.ts";

/** @param own settings of the family, which may tell which layers see a window */
export function decoderSettings(model: WrittenModel, family: DecoderKeys, own: Settings): Settings {
  const { spec } = model;
  const { config, layers, output, embedding } = spec;
  const usualHead = family.headDim ?? config.hiddenSize / config.heads;
  const { key, fallback } = family.activation;
  const settings = {
    ...sizeSettings(spec, family),
    num_key_value_heads: config.kvHeads,
    ...(config.headDim === usualHead ? {} : { head_dim: config.headDim }),
    [family.epsilon.key]: shortest(config.normEpsilon),
    [key]: activationName(layers[0]?.feedForward.activation ?? "silu", fallback),
    ...(family.rope === undefined ? {} : rotationSettings(model, family.rope)),
    tie_word_embeddings: output.head.tensor === embedding.table.tensor,
    ...own,
  };
  return { ...settings, ...windowSettings(spec, family, settings) };
}

function sizeSettings({ config }: ModelSpec, { names }: DecoderKeys): Settings {
  const sizes: Readonly<Record<SizeKey, number>> = {
    vocab_size: config.vocabularySize,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.intermediateSize,
    block_count: config.layers,
    context_length: config.contextLength,
    "attention.head_count": config.heads,
  };
  const named = Object.entries(sizes).map(([key, value]) => {
    const [name = SIZES[key as SizeKey]] = names?.[key as SizeKey] ?? [];
    return [name, value] as const;
  });
  return Object.fromEntries(named);
}

/** The size of the window, and which layers see it where the family would say otherwise. */
function windowSettings({ layers }: ModelSpec, { hasWindow }: DecoderKeys, settings: Settings): Settings {
  if (hasWindow === undefined) return {};
  const windows = layers.map(({ attention }) => attention.window);
  const window = windows.find((size) => size !== undefined);
  const stated = { sliding_window: window ?? null };
  const view = new JsonView("config.json", { ...settings, ...stated });
  const isUsual = windows.every((size, n) => (size !== undefined) === hasWindow(view, n));
  const types = windows.map((size) => (size === undefined ? "full_attention" : "sliding_attention"));
  return isUsual ? stated : { ...stated, layer_types: types };
}
