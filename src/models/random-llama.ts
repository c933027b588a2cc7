import { UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { blockOf } from "../quant/blocks.ts";
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
  "llama-30b": {
    layers: 60,
    hiddenSize: 6656,
    intermediateSize: 17920,
    heads: 52,
    kvHeads: 52,
    vocabularySize: 32000,
    contextLength: 2048,
  },
  "llama-65b": {
    layers: 80,
    hiddenSize: 8192,
    intermediateSize: 22016,
    heads: 64,
    kvHeads: 64,
    vocabularySize: 32000,
    contextLength: 2048,
  },
} as const satisfies Record<string, LlamaShape>;

/** A matrix by what it does; `output` is the head of a model that does not tie it to the embedding. */
export type LlamaMatrix = "embedding" | "q" | "k" | "v" | "o" | "gate" | "up" | "down" | "output";

/** `F` are names of formats that have kernels: for a file, tensor types of GGUF. */
export interface RandomLlama<F extends string = GgmlType> extends LlamaShape {
  /** Format of every matrix, or of each. */
  readonly format: F | ((matrix: LlamaMatrix, layer: number) => F);
  /** Format of the output head where it differs (in a tied model: of the embedding). */
  readonly outputFormat?: F;
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

/** A tensor whose bytes are made when they are asked for. */
export interface RandomTensor<F extends string> {
  readonly name: string;
  readonly type: F;
  /** As in GGUF: `shape[0]` is the row. */
  readonly shape: readonly number[];
  /** The stored bytes in chunks of whole rows. */
  readonly data: () => Iterable<Uint8Array>;
}

/** A random model: what a file of it has. */
export interface RandomModel<F extends string> {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly RandomTensor<F>[];
}

/** How far norm weights stray from 1 (standard deviation). */
const NORM_STRAY = 0.1;
/** Queries and keys are this much longer than unit gaussians, which makes attention look at few positions. */
const SCORE_GAIN = Math.SQRT2;
/** Root mean square of silu(g) · u for standard normal g and u. */
const SWIGLU_RMS = 0.596;

/**
 * A Llama with random weights, in tensor types of GGUF what `writeGguf` writes. The weights keep the
 * residual stream at about 1 through any number of layers, of which every one has a say in the logits, and make
 * attention depend on positions. The same options give the same file. Throws `UsageError` for dimensions that do not
 * fit together.
 */
export function randomLlama<F extends string = GgmlType>(options: RandomLlama<F>): RandomModel<F | "F32"> {
  checkShape(options);
  checkBlocks(options);
  return {
    metadata: new Map([...shapeMetadata(options), ...randomVocabulary(options.vocabularySize)]),
    tensors: tensorsOf(options),
  };
}

/** Throws `UsageError` where rows are not whole blocks of a format that has only such rows. */
function checkBlocks({ hiddenSize, intermediateSize, format, outputFormat }: RandomLlama<string>): void {
  const of = (name: string, cols: number) => {
    const known = formatNamed(name);
    if (known.kind === "float") return;
    const { weights, chunkBytes } = blockOf(known, cols);
    if (chunkBytes === undefined && cols % weights !== 0) {
      throw new UsageError(
        `rows of ${cols} weights are not whole blocks of ${weights}, which ${known.name} has`,
      );
    }
  };
  const formatOf = (matrix: LlamaMatrix) => (typeof format === "string" ? format : format(matrix, 0));
  of(formatOf("q"), hiddenSize);
  of(formatOf("down"), intermediateSize);
  of(outputFormat ?? formatOf("output"), hiddenSize);
}

function checkShape(shape: RandomLlama<string>): void {
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

function shapeMetadata(options: RandomLlama<string>): [string, GgufValue][] {
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

function tensorsOf<F extends string>(options: RandomLlama<F>): RandomTensor<F | "F32">[] {
  const { layers, hiddenSize, intermediateSize, heads, kvHeads, vocabularySize } = options;
  const { tied = false, logitStd = 2.5 } = options;
  const kvSize = (kvHeads * hiddenSize) / heads;
  const unit = (inputs: number) => 1 / Math.sqrt(inputs);
  const headStd = logitStd * unit(hiddenSize);
  const embeddingStd = tied ? headStd : 1;
  // Two additions to the residual stream a layer: together as large as the embedding.
  const addedStd = embeddingStd * unit(2 * layers);
  const tensors = new TensorList(options);

  tensors.matrix("token_embd.weight", "embedding", vocabularySize, hiddenSize, embeddingStd);
  for (let n = 0; n < layers; n++) {
    const add = (part: string, matrix: LlamaMatrix, rows: number, cols: number, size: number) =>
      tensors.matrix(`blk.${n}.${part}.weight`, matrix, rows, cols, size * unit(cols), n);
    tensors.norm(`blk.${n}.attn_norm.weight`);
    add("attn_q", "q", hiddenSize, hiddenSize, SCORE_GAIN);
    add("attn_k", "k", kvSize, hiddenSize, SCORE_GAIN);
    add("attn_v", "v", kvSize, hiddenSize, 1);
    add("attn_output", "o", hiddenSize, hiddenSize, addedStd);
    tensors.norm(`blk.${n}.ffn_norm.weight`);
    add("ffn_gate", "gate", intermediateSize, hiddenSize, 1);
    add("ffn_up", "up", intermediateSize, hiddenSize, 1);
    add("ffn_down", "down", hiddenSize, intermediateSize, addedStd / SWIGLU_RMS);
  }
  tensors.norm("output_norm.weight", tied);
  if (!tied) tensors.matrix("output.weight", "output", vocabularySize, hiddenSize, headStd);
  if (options.ropeFactors !== undefined) tensors.factors(options.ropeFactors);
  return tensors.list;
}

class TensorList<F extends string> {
  readonly list: RandomTensor<F | "F32">[] = [];

  constructor(private readonly options: RandomLlama<F>) {}

  /** Of the tensor to be added: each has its own, so that its data does not depend on when the others' is made. */
  private get seed(): number {
    return Math.imul((this.options.seed ?? 0) + 1, 0x9e3779b1) + this.list.length;
  }

  /** @param std standard deviation of the weights */
  matrix(name: string, matrix: LlamaMatrix, rows: number, cols: number, std: number, layer = -1): void {
    const type = formatOf(this.options, matrix, layer);
    const source = this.options.weights ?? "gaussian";
    const random = { format: formatNamed(type), rows, cols, std, seed: this.seed, source };
    this.list.push({ name, type, shape: [cols, rows], data: () => randomMatrixBytes(random) });
  }

  /**
   * Norm weights near 1. With `alternating` signs: before a tied head, where otherwise the most likely next token
   * would be the last one again.
   */
  norm(name: string, alternating = false): void {
    const rng = new Rng(this.seed);
    const values = Float32Array.from({ length: this.options.hiddenSize }, (_, i) => {
      const weight = 1 + NORM_STRAY * rng.normal();
      return alternating && i % 2 === 1 ? -weight : weight;
    });
    this.vector(name, values);
  }

  factors(values: readonly number[]): void {
    this.vector("rope_freqs.weight", Float32Array.from(values));
  }

  private vector(name: string, values: Float32Array): void {
    const bytes = new Uint8Array(values.buffer);
    this.list.push({ name, type: "F32", shape: [values.length], data: () => [bytes] });
  }
}

function formatOf<F extends string>(
  { format, outputFormat, tied }: RandomLlama<F>,
  matrix: LlamaMatrix,
  layer: number,
): F {
  const isHead = matrix === "output" || (tied === true && matrix === "embedding");
  if (isHead && outputFormat !== undefined) return outputFormat;
  return typeof format === "function" ? format(matrix, layer) : format;
}
