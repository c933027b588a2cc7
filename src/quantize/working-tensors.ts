import { at } from "../base/assert.ts";
import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { rowBytes } from "../quant/blocks.ts";
import { type FloatFormat, FORMATS } from "../quant/formats.ts";
import { dequantizeRows } from "../quant/reference.ts";

/** Rows of a matrix as f32 weights, row-major. */
export interface Rows {
  readonly rows: number;
  readonly cols: number;
  readonly weights: Float32Array;
}

/** Extents of a matrix: outputs and inputs. */
export function extentsOf({ shape }: StoredTensor): { readonly rows: number; readonly cols: number } {
  const [cols = 1, ...others] = shape;
  return { cols, rows: others.reduce((product, extent) => product * extent, 1) };
}

/** The format of a tensor. Throws `UnsupportedError` unless its weights are floats. */
export function floatFormat({ file, name, type }: StoredTensor): FloatFormat {
  const format = FORMATS.get(type);
  if (format?.kind === "float") return format;
  throw new UnsupportedError(
    `${file}: tensor ${quoted(name)} is quantized already, as ${type}: take the model of floats that it was made from`,
  );
}

/**
 * Reads rows of a tensor. Throws `UnsupportedError` unless its weights are floats, `FileFormatError` for one that is not
 * finite.
 */
export async function readWeights(tensor: StoredTensor, first: number, count: number): Promise<Rows> {
  const format = floatFormat(tensor);
  const { cols } = extentsOf(tensor);
  const bytes = new Uint8Array(count * rowBytes(format, cols));
  await tensor.readRows(first, bytes);
  const weights = dequantizeRows(format, bytes, count, cols);
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight));
  if (wrong >= 0) {
    const place = `row ${first + Math.floor(wrong / cols)}, weight ${wrong % cols}`;
    throw new FileFormatError(tensor.file, `tensor ${tensor.name}`, `${place} is ${weights[wrong]}`);
  }
  return { rows: count, cols, weights };
}

/** A matrix of a model whose weights are in memory while its layer is worked on, as f32. */
class WorkingTensor implements StoredTensor {
  readonly type = "F32";
  weights: Float32Array | undefined;

  constructor(private readonly stored: StoredTensor) {}

  get name(): string {
    return this.stored.name;
  }

  get shape(): readonly number[] {
    return this.stored.shape;
  }

  get file(): string {
    return this.stored.file;
  }

  get byteLength(): number {
    return this.stored.byteLength;
  }

  async load(): Promise<Float32Array> {
    const { weights } = await readWeights(this.stored, 0, extentsOf(this.stored).rows);
    this.weights = weights;
    return weights;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const weights = this.weights ?? (await this.load());
    const at = weights.byteOffset + 4 * first * extentsOf(this.stored).cols;
    target.set(new Uint8Array(weights.buffer, at, target.length));
  }
}

/** A model file some of whose matrices are in memory, where they can be replaced. */
export class WorkingTensors implements ModelFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  private readonly working: ReadonlyMap<string, WorkingTensor>;

  constructor(
    private readonly file: ModelFile,
    names: Iterable<string>,
  ) {
    this.working = new Map([...names].map((name) => [name, new WorkingTensor(this.stored(name))]));
    this.tensors = new Map([...file.tensors, ...this.working]);
  }

  get metadata(): ModelFile["metadata"] {
    return this.file.metadata;
  }

  private stored(name: string): StoredTensor {
    return at([this.file.tensors.get(name)], 0) as StoredTensor;
  }

  /** The weights of a matrix, [rows, cols]. Throws what `readWeights` throws. */
  async weights(name: string): Promise<Rows> {
    const tensor = at([this.working.get(name)], 0) as WorkingTensor;
    const weights = tensor.weights ?? (await tensor.load());
    return { ...extentsOf(tensor), weights };
  }

  /** The first row of a matrix as it is in the file. */
  firstRow(name: string): Promise<Rows> {
    return readWeights(this.stored(name), 0, 1);
  }

  /** Changes the weights of a matrix. */
  replace(name: string, weights: Float32Array): void {
    (at([this.working.get(name)], 0) as WorkingTensor).weights = weights;
  }

  /** Forgets what matrices have in memory. */
  drop(names: Iterable<string>): void {
    for (const name of names) (at([this.working.get(name)], 0) as WorkingTensor).weights = undefined;
  }
}
