import { UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { blockOf } from "../quant/blocks.ts";
import { formatNamed } from "../quant/formats.ts";
import { specOf } from "./index.ts";
import { isRouting, type LayerMatrix, layerMatrices, type ModelSpec, norms } from "./model.ts";
import { LEAST_VOCABULARY, randomVocabulary } from "./random-vocabulary.ts";
import { randomMatrixBytes, type WeightSource } from "./random-weights.ts";
import type { TensorList } from "./tensor-list.ts";
import { matrixSizes } from "./weight-sizes.ts";

/** The dimensions of a model. */
export interface ModelDimensions {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Default: hiddenSize / heads. */
  readonly headDim?: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
}

/** A matrix by what it does; `output` is the head of a model that does not tie it to the embedding. */
export type ModelMatrix = "embedding" | LayerMatrix | "output";

/** `F` are names of formats that have kernels: for a file, tensor types of GGUF. */
export interface RandomWeights<F extends string = GgmlType> {
  /** Format of every matrix, or of each. */
  readonly format: F | ((matrix: ModelMatrix, layer: number) => F);
  /** Format of the output head where it differs (in a tied model: of the embedding). */
  readonly outputFormat?: F;
  /** Standard deviation of the logits over the vocabulary. Default: 2.5, about that of a trained model. */
  readonly logitStd?: number;
  readonly seed?: number;
  /** Default: `gaussian`. */
  readonly weights?: WeightSource;
}

/** A random model of an architecture. */
export interface RandomModelOptions<F extends string = GgmlType> extends ModelDimensions, RandomWeights<F> {
  readonly architecture: string;
  /** More keys, or other values, of the architecture; `undefined` for none. */
  readonly keys?: Readonly<Record<string, GgufValue | undefined>>;
  /** Which tensors the model has of those that it may lack. Default: an output head. */
  readonly optional?: (tensor: string) => boolean;
  /** Vectors that are not random, by tensor; the model has them. */
  readonly vectors?: Readonly<Record<string, readonly number[]>>;
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
/** Standard deviation of biases: enough that a model without them is another one. */
const BIAS_STD = 0.3;

/**
 * A model with random weights, in tensor types of GGUF what `writeGguf` writes. Its architecture itself says which
 * tensors it has. The weights keep the residual stream at about 1 through any number of layers, of which every one has
 * a say in the logits, and make attention depend on positions. The same options give the same file. Throws `UsageError`
 * for dimensions that do not fit together.
 */
export function randomModel<F extends string = GgmlType>(
  options: RandomModelOptions<F>,
): RandomModel<F | "F32"> {
  checkDimensions(options);
  const metadata = new Map([...shapeMetadata(options), ...randomVocabulary(options.vocabularySize)]);
  const wanted = new WantedTensors(options);
  const spec = specOf(new GgufMetadata("random model", metadata), () => wanted);
  return { metadata, tensors: new RandomTensors(options, spec).of(wanted.shapes) };
}

function checkDimensions(dimensions: ModelDimensions): void {
  const { hiddenSize, heads, kvHeads, headDim = hiddenSize / heads, vocabularySize } = dimensions;
  if (headDim % 2 !== 0) {
    throw new UsageError(`hiddenSize ${hiddenSize} must be ${heads} heads of an even size`);
  }
  if (heads % kvHeads !== 0)
    throw new UsageError(`${heads} heads must be a multiple of ${kvHeads} key-value heads`);
  if (vocabularySize < LEAST_VOCABULARY) {
    throw new UsageError(`vocabularySize must be at least ${LEAST_VOCABULARY}, not ${vocabularySize}`);
  }
}

function shapeMetadata(options: RandomModelOptions<string>): Map<string, GgufValue> {
  const { architecture, heads, kvHeads, headDim } = options;
  const size = (value: number): GgufValue => ({ type: "u32", value });
  const text = (value: string): GgufValue => ({ type: "string", value });
  const ownHeads =
    headDim === undefined
      ? {}
      : { "attention.key_length": size(headDim), "attention.value_length": size(headDim) };
  const keys: Record<string, GgufValue | undefined> = {
    vocab_size: size(options.vocabularySize),
    context_length: size(options.contextLength),
    embedding_length: size(options.hiddenSize),
    block_count: size(options.layers),
    feed_forward_length: size(options.intermediateSize),
    "attention.head_count": size(heads),
    "attention.head_count_kv": size(kvHeads),
    ...ownHeads,
    "attention.layer_norm_rms_epsilon": { type: "f32", value: 1e-5 },
    "rope.dimension_count": size(headDim ?? options.hiddenSize / heads),
    "rope.freq_base": { type: "f32", value: 10_000 },
    ...options.keys,
  };
  const entries = Object.entries(keys).flatMap(([key, value]): [string, GgufValue][] =>
    value === undefined ? [] : [[`${architecture}.${key}`, value]],
  );
  return new Map([
    ["general.architecture", text(architecture)],
    ["general.name", text("random")],
    ...entries,
  ]);
}

/** A model that has what is asked for. */
class WantedTensors implements TensorList {
  readonly shapes = new Map<string, readonly number[]>();

  constructor(private readonly options: RandomModelOptions<string>) {}

  has(name: string): boolean {
    const { vectors = {}, optional = (tensor) => tensor === "output.weight" } = this.options;
    return name in vectors || optional(name);
  }

  rows(): undefined {
    return undefined;
  }

  expect(name: string, shape: readonly number[]): void {
    this.shapes.set(name, shape);
  }

  end(): void {}
}

/** Makes tensors by what they are in the model. */
class RandomTensors<F extends string> {
  private readonly sizes: ReadonlyMap<string, number>;
  private readonly formats: ReadonlyMap<string, F | "F32">;
  private readonly normWeights: ReadonlySet<string>;

  constructor(
    private readonly options: RandomModelOptions<F>,
    private readonly spec: ModelSpec,
  ) {
    this.sizes = matrixSizes(spec, options.logitStd ?? 2.5);
    this.formats = matrixFormats(spec, options);
    const weights = norms(spec).map(({ weight }) => weight.tensor);
    this.normWeights = new Set(weights);
  }

  of(shapes: ReadonlyMap<string, readonly number[]>): RandomTensor<F | "F32">[] {
    return [...shapes].map(([name, shape], index) => {
      const size = this.sizes.get(name);
      const seed = Math.imul((this.options.seed ?? 0) + 1, 0x9e3779b1) + index;
      return size === undefined ? this.vector(name, shape, seed) : this.matrix(name, shape, size, seed);
    });
  }

  private matrix(name: string, shape: readonly number[], std: number, seed: number): RandomTensor<F | "F32"> {
    const type = this.formats.get(name) as F | "F32";
    const [cols = 1, ...others] = shape;
    const rows = others.reduce((product, extent) => product * extent, 1);
    checkBlocks(type, cols);
    const source = this.options.weights ?? "gaussian";
    const random = { format: formatNamed(type), rows, cols, std, seed, source };
    return { name, type, shape, data: () => randomMatrixBytes(random) };
  }

  private vector(name: string, shape: readonly number[], seed: number): RandomTensor<"F32"> {
    const given = this.options.vectors?.[name];
    const length = shape.reduce((a, b) => a * b, 1);
    if (given !== undefined && given.length !== length) {
      throw new UsageError(`${name} has ${given.length} values, not ${length}`);
    }
    const values = given === undefined ? this.values(name, length, new Rng(seed)) : Float32Array.from(given);
    const bytes = new Uint8Array(values.buffer);
    return { name, type: "F32", shape, data: () => [bytes] };
  }

  /**
   * Norm weights near 1, with alternating signs before a tied head, where otherwise the most likely next token would be
   * the last one again; biases around 0.
   */
  private values(name: string, length: number, rng: Rng): Float32Array {
    const { output, embedding } = this.spec;
    const alternating = name === output.norm.weight.tensor && output.head.tensor === embedding.table.tensor;
    return Float32Array.from({ length }, (_, i) => {
      if (!this.normWeights.has(name)) return BIAS_STD * rng.normal();
      const weight = 1 + NORM_STRAY * rng.normal();
      return alternating && i % 2 === 1 ? -weight : weight;
    });
  }
}

/** Throws `UsageError` where rows are not whole blocks of a format that has only such rows. */
function checkBlocks(name: string, cols: number): void {
  const format = formatNamed(name);
  if (format.kind === "float") return;
  const { weights, chunkBytes } = blockOf(format, cols);
  const hasParts = chunkBytes !== undefined && format.block === undefined;
  if (hasParts || cols % weights === 0) return;
  throw new UsageError(
    `rows of ${cols} weights are not whole blocks of ${weights}, which ${format.name} has`,
  );
}

/** Formats by tensor; converters keep f32 where experts are chosen and weighted. */
function matrixFormats<F extends string>(spec: ModelSpec, weights: RandomWeights<F>): Map<string, F | "F32"> {
  const { format, outputFormat } = weights;
  const formatOf = (matrix: ModelMatrix, layer: number) =>
    typeof format === "function" ? format(matrix, layer) : format;
  const { table, positions, projection } = spec.embedding;
  const { head, projection: headProjection } = spec.output;
  const formats = new Map<string, F | "F32">();
  for (const linear of [table, positions, projection]) {
    if (linear !== undefined) formats.set(linear.tensor, formatOf("embedding", -1));
  }
  spec.layers.forEach((layer, n) => {
    for (const [matrix, { tensor }] of layerMatrices(layer)) {
      formats.set(tensor, isRouting(matrix) ? "F32" : formatOf(matrix, n));
    }
  });
  if (headProjection !== undefined) formats.set(headProjection.tensor, formatOf("output", -1));
  const untied = head.tensor === table.tensor ? formatOf("embedding", -1) : formatOf("output", -1);
  return formats.set(head.tensor, outputFormat ?? untied);
}
