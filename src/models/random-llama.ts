import { UsageError } from "../base/errors.ts";
import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import type { GgufTensorToWrite, GgufToWrite } from "../files/gguf-writer.ts";
import { formatNamed } from "../quant/formats.ts";
import { LEAST_VOCABULARY, randomVocabulary } from "./random-vocabulary.ts";
import { randomMatrixBytes, type WeightSource } from "./random-weights.ts";

/** The dimensions of a Llama. */
export interface LlamaShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
}

/** Shapes of published models, for timing. */
export const LLAMA_SHAPES = {
  "tinyllama-1.1b": {
    layers: 22,
    hiddenSize: 2048,
    intermediateSize: 5632,
    heads: 32,
    kvHeads: 4,
    vocabularySize: 32000,
    contextLength: 2048,
  },
  "llama-2-7b": {
    layers: 32,
    hiddenSize: 4096,
    intermediateSize: 11008,
    heads: 32,
    kvHeads: 32,
    vocabularySize: 32000,
    contextLength: 4096,
  },
  "llama-2-13b": {
    layers: 40,
    hiddenSize: 5120,
    intermediateSize: 13824,
    heads: 40,
    kvHeads: 40,
    vocabularySize: 32000,
    contextLength: 4096,
  },
} as const satisfies Record<string, LlamaShape>;

/** A matrix by what it does; `output` is the head of a model that does not tie it to the embedding. */
export type LlamaMatrix = "embedding" | "q" | "k" | "v" | "o" | "gate" | "up" | "down" | "output";

export interface RandomLlama extends LlamaShape {
  /** Format of every matrix, or of each (tensor types of GGUF that have kernels). */
  readonly format: GgmlType | ((matrix: LlamaMatrix, layer: number) => GgmlType);
  /** Format of the output head where it differs (in a tied model: of the embedding). */
  readonly outputFormat?: GgmlType;
  /** Whether the embedding is the output head too. Default: no. */
  readonly tied?: boolean;
  /** Standard deviation of the logits over the vocabulary. Default: 2.5, about that of a trained model. */
  readonly logitStd?: number;
  readonly seed?: number;
  /** Default: `gaussian`. */
  readonly weights?: WeightSource;
  /** θ base of the rotary embedding. Default: 10,000. */
  readonly ropeBase?: number;
  readonly ropeScaling?:
    | { readonly kind: "linear"; readonly factor: number }
    | { readonly kind: "yarn"; readonly factor: number; readonly originalContext: number };
  /** One divisor per pair of a head's dimensions, as Llama 3.1 has them. */
  readonly ropeFactors?: readonly number[];
}

/** How far norm weights stray from 1 (standard deviation). */
const NORM_STRAY = 0.1;
/** Queries and keys are this much longer than unit gaussians, which makes attention look at few positions. */
const SCORE_GAIN = Math.SQRT2;
/** Root mean square of silu(g) · u for standard normal g and u. */
const SWIGLU_RMS = 0.596;

/**
 * A Llama with random weights as a GGUF file for `writeGguf`; data is made when its turn comes. The weights keep the
 * residual stream at about 1 through any number of layers, of which every one has a say in the logits, and make
 * attention depend on positions. The same options give the same file. Throws `UsageError` for dimensions that do not
 * fit together.
 */
export function randomLlama(options: RandomLlama): GgufToWrite {
  checkShape(options);
  return {
    metadata: new Map([...shapeMetadata(options), ...randomVocabulary(options.vocabularySize)]),
    tensors: tensorsOf(options),
  };
}

function checkShape(shape: RandomLlama): void {
  const { hiddenSize, heads, kvHeads, vocabularySize } = shape;
  if (hiddenSize % (2 * heads) !== 0) {
    throw new UsageError(`hiddenSize ${hiddenSize} must be ${heads} heads of an even size`);
  }
  if (heads % kvHeads !== 0)
    throw new UsageError(`${heads} heads must be a multiple of ${kvHeads} key-value heads`);
  if (vocabularySize < LEAST_VOCABULARY) {
    throw new UsageError(`vocabularySize must be at least ${LEAST_VOCABULARY}, not ${vocabularySize}`);
  }
  const factors = shape.ropeFactors?.length ?? hiddenSize / heads / 2;
  if (factors !== hiddenSize / heads / 2) {
    throw new UsageError(`${factors} rope factors for ${hiddenSize / heads / 2} pairs of dimensions`);
  }
}

function shapeMetadata(options: RandomLlama): [string, GgufValue][] {
  const size = (name: string, value: number): [string, GgufValue] => [
    `llama.${name}`,
    { type: "u32", value },
  ];
  const real = (name: string, value: number): [string, GgufValue] => [
    `llama.${name}`,
    { type: "f32", value },
  ];
  const text = (key: string, value: string): [string, GgufValue] => [key, { type: "string", value }];
  const entries = [
    text("general.architecture", "llama"),
    text("general.name", "random"),
    size("vocab_size", options.vocabularySize),
    size("context_length", options.contextLength),
    size("embedding_length", options.hiddenSize),
    size("block_count", options.layers),
    size("feed_forward_length", options.intermediateSize),
    size("attention.head_count", options.heads),
    size("attention.head_count_kv", options.kvHeads),
    real("attention.layer_norm_rms_epsilon", 1e-5),
    size("rope.dimension_count", options.hiddenSize / options.heads),
    real("rope.freq_base", options.ropeBase ?? 10_000),
  ];
  const { ropeScaling } = options;
  if (ropeScaling === undefined) return entries;
  entries.push(text("llama.rope.scaling.type", ropeScaling.kind));
  entries.push(real("rope.scaling.factor", ropeScaling.factor));
  if (ropeScaling.kind === "yarn") {
    entries.push(size("rope.scaling.original_context_length", ropeScaling.originalContext));
  }
  return entries;
}

function tensorsOf(options: RandomLlama): GgufTensorToWrite[] {
  const { layers, hiddenSize, intermediateSize, heads, kvHeads, vocabularySize } = options;
  const { tied = false, logitStd = 2.5, seed = 0, weights = "gaussian" } = options;
  const kvSize = (kvHeads * hiddenSize) / heads;
  const tensors: GgufTensorToWrite[] = [];
  // The writer asks for tensors in any order it likes: each has a seed of its own.
  const nextSeed = () => Math.imul(seed + 1, 0x9e3779b1) + tensors.length;
  const matrix = (
    name: string,
    kind: LlamaMatrix,
    layer: number,
    rows: number,
    cols: number,
    std: number,
  ) => {
    const type = formatOf(options, kind, layer);
    const random = { format: formatNamed(type), rows, cols, std, seed: nextSeed(), source: weights };
    tensors.push({ name, type, shape: [cols, rows], data: () => randomMatrixBytes(random) });
  };
  const norm = (name: string) => {
    const random = {
      format: formatNamed("F32"),
      rows: 1,
      cols: hiddenSize,
      std: NORM_STRAY,
      seed: nextSeed(),
      source: weights,
    };
    const data = () => [...randomMatrixBytes(random)].map(addOne);
    tensors.push({ name, type: "F32", shape: [hiddenSize], data });
  };
  const unit = (inputs: number) => 1 / Math.sqrt(inputs);
  const perBlock = unit(2 * layers);
  const headStd = logitStd * unit(hiddenSize);

  matrix("token_embd.weight", "embedding", -1, vocabularySize, hiddenSize, tied ? headStd : 1);
  for (let n = 0; n < layers; n++) {
    const name = (part: string) => `blk.${n}.${part}.weight`;
    norm(name("attn_norm"));
    matrix(name("attn_q"), "q", n, hiddenSize, hiddenSize, SCORE_GAIN * unit(hiddenSize));
    matrix(name("attn_k"), "k", n, kvSize, hiddenSize, SCORE_GAIN * unit(hiddenSize));
    matrix(name("attn_v"), "v", n, kvSize, hiddenSize, unit(hiddenSize));
    matrix(name("attn_output"), "o", n, hiddenSize, hiddenSize, perBlock * unit(hiddenSize));
    norm(name("ffn_norm"));
    matrix(name("ffn_gate"), "gate", n, intermediateSize, hiddenSize, unit(hiddenSize));
    matrix(name("ffn_up"), "up", n, intermediateSize, hiddenSize, unit(hiddenSize));
    const downStd = (perBlock / SWIGLU_RMS) * unit(intermediateSize);
    matrix(name("ffn_down"), "down", n, hiddenSize, intermediateSize, downStd);
  }
  norm("output_norm.weight");
  if (!tied) matrix("output.weight", "output", -1, vocabularySize, hiddenSize, headStd);
  if (options.ropeFactors !== undefined) tensors.push(factorsTensor(options.ropeFactors));
  return tensors;
}

function formatOf({ format, outputFormat, tied }: RandomLlama, matrix: LlamaMatrix, layer: number): GgmlType {
  const isHead = matrix === "output" || (tied === true && matrix === "embedding");
  if (isHead && outputFormat !== undefined) return outputFormat;
  return typeof format === "function" ? format(matrix, layer) : format;
}

/** In place, on f32s. */
function addOne(chunk: Uint8Array): Uint8Array {
  const values = new Float32Array(chunk.buffer, chunk.byteOffset, chunk.length / 4);
  for (let i = 0; i < values.length; i++) values[i]! += 1;
  return chunk;
}

function factorsTensor(factors: readonly number[]): GgufTensorToWrite {
  const bytes = new Uint8Array(Float32Array.from(factors).buffer);
  return { name: "rope_freqs.weight", type: "F32", shape: [factors.length], data: () => [bytes] };
}
