import type { NormKind } from "../../kernels/norm.ts";
import type { JsonView } from "../../text/json-view.ts";
import { GgufKeys } from "./gguf-keys.ts";
import { type RopeKeys, ropeSettings, ropeVectors, writeRope } from "./rope.ts";
import { activation, MAX_DIMENSION, MAX_LAYERS, positive, size } from "./settings.ts";

/** Sizes that every decoder has: GGUF's keys, and what config.json usually calls them. */
export const SIZES = {
  vocab_size: "vocab_size",
  embedding_length: "hidden_size",
  feed_forward_length: "intermediate_size",
  block_count: "num_hidden_layers",
  context_length: "max_position_embeddings",
  "attention.head_count": "num_attention_heads",
} as const;

export type SizeKey = keyof typeof SIZES;

/** How config.json of a family says what all decoders have. */
export interface DecoderKeys {
  readonly architecture: string;
  /** Names of sizes that are not the usual ones, the first one that is there counts. */
  readonly names?: Partial<Record<SizeKey, readonly string[]>>;
  /** Sizes that may be absent. */
  readonly sizes?: Partial<Record<SizeKey, number>>;
  /** The inner width where it is absent, in widths of the residual stream. */
  readonly widening?: number;
  readonly headDim?: number;
  /** Default: `num_key_value_heads`, else as many as heads. */
  readonly kvHeads?: (config: JsonView, heads: number) => number;
  readonly norm: NormKind;
  readonly epsilon: { readonly key: string; readonly fallback: number };
  readonly activation: { readonly key: string; readonly fallback: string };
  /** Absent where positions are learned. */
  readonly rope?: RopeKeys;
  /** Whether a layer sees a window where `layer_types` does not say it; absent where none does. */
  readonly hasWindow?: (config: JsonView, layer: number) => boolean;
  /** The window where its size is absent. Default: none. */
  readonly window?: number;
  readonly tied: boolean;
}

/** What config.json says of a decoder. */
export interface Decoder {
  readonly keys: GgufKeys;
  readonly layers: number;
  readonly hiddenSize: number;
  /** Inner width of the feed-forward block. */
  readonly innerSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly tied: boolean;
  /** Factors of the rotation. */
  readonly vectors: ReadonlyMap<string, Float32Array>;
}

/** Reads config.json. Throws `FileFormatError` and `UnsupportedError`. */
export function readDecoder(config: JsonView, family: DecoderKeys): Decoder {
  const keys = new GgufKeys(family.architecture);
  const sizes = readSizes(config, family);
  for (const [name, value] of Object.entries(sizes)) keys.size(name, value);
  const { embedding_length: hiddenSize, "attention.head_count": heads, block_count: layers } = sizes;
  const kvHeads = family.kvHeads?.(config, heads) ?? config.integer("num_key_value_heads", 1, heads) ?? heads;
  const headDim = readHeadDim(config, family, hiddenSize, heads);
  keys.size("attention.head_count_kv", kvHeads);
  keys.size("attention.key_length", headDim);
  keys.size("attention.value_length", headDim);
  const epsilon = positive(config, family.epsilon.key, family.epsilon.fallback);
  keys.real(`attention.layer_norm_${family.norm === "rms" ? "rms_" : ""}epsilon`, epsilon);
  keys.text("feed_forward.activation", activation(config, family.activation.key, family.activation.fallback));
  writeWindows(keys, config, family, layers);
  return {
    keys,
    layers,
    hiddenSize,
    innerSize: sizes.feed_forward_length,
    heads,
    kvHeads,
    headDim,
    tied: config.bool("tie_word_embeddings") ?? family.tied,
    vectors: readRotation(keys, config, family, headDim, sizes.context_length),
  };
}

function readSizes(config: JsonView, family: DecoderKeys): Record<SizeKey, number> {
  const of = (key: SizeKey, fallback = family.sizes?.[key]) => {
    const names = family.names?.[key] ?? [SIZES[key]];
    return size(config, names, fallback, key === "block_count" ? MAX_LAYERS : MAX_DIMENSION);
  };
  const hiddenSize = of("embedding_length");
  const inner = family.widening === undefined ? undefined : family.widening * hiddenSize;
  return {
    vocab_size: of("vocab_size"),
    embedding_length: hiddenSize,
    feed_forward_length: of("feed_forward_length", inner ?? family.sizes?.feed_forward_length),
    block_count: of("block_count"),
    context_length: of("context_length"),
    "attention.head_count": of("attention.head_count"),
  };
}

function readHeadDim(config: JsonView, family: DecoderKeys, hiddenSize: number, heads: number): number {
  const own = config.integer("head_dim", 1, MAX_DIMENSION) ?? family.headDim;
  if (own !== undefined) return own;
  if (hiddenSize % heads === 0) return hiddenSize / heads;
  const [name = ""] = family.names?.["attention.head_count"] ?? [SIZES["attention.head_count"]];
  throw config.error(name, `is ${heads}, which does not divide ${hiddenSize} dimensions`);
}

function readRotation(
  keys: GgufKeys,
  config: JsonView,
  { rope }: DecoderKeys,
  headDim: number,
  context: number,
): ReadonlyMap<string, Float32Array> {
  if (rope === undefined) return new Map();
  const settings = ropeSettings(config, rope, context);
  const rotated = Math.floor(headDim * settings.share);
  keys.size("rope.dimension_count", rotated);
  // GGUF's converters permute the rows of q and k of some architectures instead.
  keys.text("rope.pairing", "halves");
  writeRope(keys, settings);
  return ropeVectors(settings, rotated);
}

const LAYER_TYPES: Readonly<Record<string, boolean>> = { sliding_attention: true, full_attention: false };

/** Which layers see a window, and how far that reaches. */
function writeWindows(keys: GgufKeys, config: JsonView, family: DecoderKeys, layers: number): void {
  const { hasWindow } = family;
  if (hasWindow === undefined) return;
  const types = config.list("layer_types");
  const window = config.integer("sliding_window", 1, MAX_DIMENSION) ?? family.window;
  const flags = Array.from({ length: layers }, (_, n) => {
    if (types.length === 0) return window !== undefined && hasWindow(config, n);
    const type = types[n];
    if (typeof type === "string" && Object.hasOwn(LAYER_TYPES, type)) return LAYER_TYPES[type] === true;
    const known = Object.keys(LAYER_TYPES).join(" nor ");
    throw config.error("layer_types", `says of layer ${n} neither ${known}`);
  });
  if (!flags.includes(true)) return;
  if (window === undefined) throw config.error("sliding_window", "is missing");
  keys.size("attention.sliding_window", window);
  keys.flags("attention.sliding_window_pattern", flags);
}
