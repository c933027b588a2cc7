import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { type Activation, isActivation } from "../kernels/gate.ts";
import type { NormKind } from "../kernels/norm.ts";
import type { RopePairing } from "../kernels/rope.ts";
import type { ModelConfig, RopeConfig, RopeScaling } from "./model.ts";
import { MAX_DIMENSION, type ModelReader } from "./reader.ts";

const MAX_LAYERS = 4096;
/** Experts of a layer: published models have 512 at most. */
const MAX_EXPERTS = 4096;

/** Keys of the ε of norms. */
const EPSILON: Readonly<Record<NormKind, string>> = {
  rms: "attention.layer_norm_rms_epsilon",
  layer: "attention.layer_norm_epsilon",
};

/** The dimensions of a model, its norms and its rotation, all layers alike; without `pairing` nothing rotates. */
export function readConfig(reader: ModelReader, norm: NormKind, pairing?: RopePairing): ModelConfig {
  if (reader.metadata.u32Or(reader.key("expert_count"), 0) === 0)
    return readDimensions(reader, norm, pairing);
  throw new UnsupportedError(
    `${reader.metadata.file}: mixture of experts (${reader.key("expert_count")} > 0) is not supported in this architecture`,
  );
}

/** Like `readConfig`, of a model with experts or without. */
export function readMixtureConfig(reader: ModelReader, norm: NormKind, pairing: RopePairing): ModelConfig {
  const config = readDimensions(reader, norm, pairing);
  const count = reader.metadata.integerOr(reader.key("expert_count"), 0, MAX_EXPERTS, 0);
  if (count === 0) return config;
  const used = reader.metadata.integer(reader.key("expert_used_count"), 1, count);
  return { ...config, experts: { count, used } };
}

function readDimensions(reader: ModelReader, norm: NormKind, pairing?: RopePairing): ModelConfig {
  const { metadata } = reader;
  const hiddenSize = reader.size("embedding_length");
  const heads = reader.size("attention.head_count");
  const contextLength = reader.size("context_length");
  const headDim = readHeadDim(reader, hiddenSize, heads);
  return {
    architecture: reader.architecture,
    name: metadata.stringOr("general.name", reader.architecture),
    vocabularySize: reader.sizeOr("vocab_size", reader.tensors.rows("token_embd.weight") ?? 1),
    hiddenSize,
    intermediateSize: reader.size("feed_forward_length"),
    layers: metadata.integer(reader.key("block_count"), 1, MAX_LAYERS),
    heads,
    kvHeads: readKvHeads(reader, heads),
    headDim,
    contextLength,
    normEpsilon: reader.positive(EPSILON[norm]),
    ...(pairing === undefined ? {} : { rope: readRope(reader, pairing, headDim, contextLength) }),
  };
}

function readKvHeads(reader: ModelReader, heads: number): number {
  const name = "attention.head_count_kv";
  const kvHeads = reader.metadata.integerOr(reader.key(name), 1, heads, heads);
  if (heads % kvHeads !== 0) throw reader.error(name, `${kvHeads} does not divide ${heads} heads`);
  return kvHeads;
}

function readHeadDim(reader: ModelReader, hiddenSize: number, heads: number): number {
  const headDim = reader.sizeOr("attention.key_length", Math.floor(hiddenSize / heads));
  if (headDim < 1) throw reader.error("attention.head_count", `${heads} heads for ${hiddenSize} dimensions`);
  const valueDim = reader.sizeOr("attention.value_length", headDim);
  if (valueDim === headDim) return headDim;
  throw new UnsupportedError(
    `${reader.metadata.file}: heads with ${headDim} key and ${valueDim} value dimensions ` +
      `(${reader.key("attention.key_length")}, value_length) are not supported`,
  );
}

function readRope(
  reader: ModelReader,
  pairing: RopePairing,
  headDim: number,
  contextLength: number,
): RopeConfig {
  const rotated = reader.metadata.integerOr(reader.key("rope.dimension_count"), 2, headDim, headDim);
  if (rotated % 2 !== 0) throw reader.error("rope.dimension_count", `${rotated} is odd`);
  const factors = "rope_freqs.weight";
  return {
    pairing: pairingOf(reader, pairing),
    rotated,
    base: reader.positiveOr("rope.freq_base", 10000),
    scaling: readScaling(reader, rotated, contextLength),
    ...(reader.tensors.has(factors) ? { factors: reader.vector(factors, rotated / 2) } : {}),
  };
}

/** That of GGUF's models; those that were not converted say that theirs is another. */
function pairingOf(reader: ModelReader, usual: RopePairing): RopePairing {
  const name = "rope.pairing";
  const pairing = reader.metadata.stringOr(reader.key(name), usual);
  if (pairing === "interleaved" || pairing === "halves") return pairing;
  throw reader.error(name, `is ${quoted(pairing)}, neither interleaved nor halves`);
}

function readScaling(reader: ModelReader, rotated: number, contextLength: number): RopeScaling {
  const { metadata, tensors } = reader;
  const part = (name: string) => `rope.scaling.${name}`;
  const real = (name: string, fallback: number) => metadata.f32Or(reader.key(part(name)), fallback);
  const originalContext = () => reader.sizeOr(part("original_context_length"), contextLength);
  const [short, long] = ["rope_factors_short.weight", "rope_factors_long.weight"] as const;
  if (tensors.has(long)) {
    return {
      kind: "longrope",
      originalContext: originalContext(),
      attentionFactor: real("attn_factor", 1),
      short: reader.vector(short, rotated / 2),
      long: reader.vector(long, rotated / 2),
    };
  }
  const legacy = metadata.f32Or(reader.key("rope.scale_linear"), 1);
  const kind = metadata.stringOr(reader.key(part("type")), legacy === 1 ? "none" : "linear");
  const factor = real("factor", legacy);
  if (!(factor > 0)) throw reader.error(part("factor"), `${factor} is not positive`);
  if (kind === "none" || factor === 1) return { kind: "none" };
  if (kind === "linear") return { kind: "linear", factor };
  if (kind === "dynamic") return { kind: "dynamic", factor, originalContext: originalContext() };
  if (kind !== "yarn")
    throw new UnsupportedError(
      `${metadata.file}: ${reader.key(part("type"))} ${quoted(kind)} is not supported; known: none, linear, yarn, dynamic`,
    );
  return {
    kind: "yarn",
    factor,
    originalContext: originalContext(),
    betaFast: real("yarn_beta_fast", 32),
    betaSlow: real("yarn_beta_slow", 1),
    attentionFactor: real("attn_factor", 1),
    truncate: metadata.boolOr(reader.key(part("yarn_truncate")), true),
  };
}

/** The function of feed-forward blocks: the usual one of the architecture, unless the file names another. */
export function readActivation(reader: ModelReader, usual: Activation): Activation {
  const name = "feed_forward.activation";
  const activation = reader.metadata.stringOr(reader.key(name), usual);
  if (isActivation(activation)) return activation;
  throw new UnsupportedError(
    `${reader.metadata.file}: ${reader.key(name)} ${quoted(activation)} is not supported`,
  );
}

/** The window of a layer, where the file says layer by layer which ones have it. */
export function statedWindow(reader: ModelReader, layer: number): { readonly window?: number } {
  const isStated = reader.metadata.entries.get(reader.key(WINDOW_PATTERN))?.type === "array";
  if (!isStated || !windowedLayers(reader, 1)(layer)) return {};
  return { window: reader.size("attention.sliding_window") };
}

const WINDOW_PATTERN = "attention.sliding_window_pattern";

/** Which layers see a window only: all but every `period`th, unless the file says which. */
export function windowedLayers(reader: ModelReader, period: number): (layer: number) => boolean {
  const { metadata } = reader;
  if (metadata.entries.get(reader.key(WINDOW_PATTERN))?.type === "array") {
    const pattern = metadata.numbers(reader.key(WINDOW_PATTERN));
    return (layer) => (pattern[layer] ?? 0) !== 0;
  }
  const every = metadata.integerOr(reader.key(WINDOW_PATTERN), 1, MAX_DIMENSION, period);
  return (layer) => layer % every < every - 1;
}
