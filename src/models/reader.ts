import type { FileFormatError } from "../base/errors.ts";
import type { GgufMetadata } from "../files/gguf-metadata.ts";
import type { NormKind } from "../kernels/norm.ts";
import type { ExpertCounts, Linear, Norm, Vector } from "./model.ts";
import type { TensorList } from "./tensor-list.ts";

/** Largest value of any dimension that is believed: keeps every product of two of them below 2^53. */
export const MAX_DIMENSION = 2 ** 24;

/** Metadata and tensors of a model, by the names that llama.cpp gave them. */
export class ModelReader {
  /** What keys start with. */
  readonly architecture: string;

  constructor(
    readonly metadata: GgufMetadata,
    readonly tensors: TensorList,
  ) {
    this.architecture = metadata.string("general.architecture");
  }

  key(name: string): string {
    return `${this.architecture}.${name}`;
  }

  error(name: string, problem: string): FileFormatError {
    return this.metadata.error(this.key(name), problem);
  }

  size(name: string): number {
    return this.metadata.integer(this.key(name), 1, MAX_DIMENSION);
  }

  sizeOr<F>(name: string, fallback: F): number | F {
    return this.metadata.integerOr(this.key(name), 1, MAX_DIMENSION, fallback);
  }

  /** Like `sizeOr`; 0 means that there is none. */
  sizeUnlessZero<F>(name: string, fallback: F): number | F | undefined {
    return this.metadata.integerOr(this.key(name), 0, MAX_DIMENSION, fallback) || undefined;
  }

  positive(name: string): number {
    const value = this.metadata.f32(this.key(name));
    if (!(value > 0)) throw this.error(name, `${value} is not positive`);
    return value;
  }

  positiveOr<F>(name: string, fallback: F): number | F {
    return this.metadata.has(this.key(name)) ? this.positive(name) : fallback;
  }

  /** The matrix `name`.weight, of which rows are looked up. */
  table(name: string, rows: number, cols: number): Linear {
    const tensor = `${name}.weight`;
    this.tensors.expect(tensor, [cols, rows]);
    return { tensor, rows, cols };
  }

  /** The matrix `name`.weight, with `name`.bias where the model has one. */
  linear(name: string, rows: number, cols: number): Linear {
    const bias = `${name}.bias`;
    const weights = this.table(name, rows, cols);
    return this.tensors.has(bias) ? { ...weights, bias: this.vector(bias, rows) } : weights;
  }

  /** The matrices `name`.weight, one for every expert, with `name`.bias where the model has one. Throws `FileFormatError` for more rows than are believed. */
  stack(name: string, rows: number, cols: number, experts: ExpertCounts): Linear {
    const tensor = `${name}.weight`;
    if (rows * experts.count > MAX_DIMENSION) {
      throw this.metadata.error(`tensor ${tensor}`, `${experts.count} experts of ${rows} rows are too many`);
    }
    this.tensors.expect(tensor, [cols, rows, experts.count]);
    const bias = `${name}.bias`;
    if (!this.tensors.has(bias)) return { tensor, rows, cols, experts };
    const { count } = experts;
    return { tensor, rows, cols, experts, bias: { ...this.vector(bias, rows, [rows, count]), count } };
  }

  /** A matrix of one output, which files have as a vector. */
  rowVector(name: string, cols: number): Linear {
    const tensor = `${name}.weight`;
    this.tensors.expect(tensor, [cols]);
    return { tensor, rows: 1, cols };
  }

  vector(tensor: string, length: number, shape: readonly number[] = [length]): Vector {
    this.tensors.expect(tensor, shape);
    return { tensor, length };
  }

  /** The norm `name`.weight over `length` values; LayerNorm with `name`.bias where the model has one. */
  norm(name: string, kind: NormKind, length: number, epsilon: number): Norm {
    const weight = this.vector(`${name}.weight`, length);
    const bias = `${name}.bias`;
    if (kind === "rms" || !this.tensors.has(bias)) return { kind, weight, epsilon };
    return { kind, weight, epsilon, bias: this.vector(bias, length) };
  }
}

/** Consecutive rows of a matrix as matrices of so many rows each. */
export function splitRows(whole: Linear, rows: readonly number[]): Linear[] {
  let firstRow = 0;
  return rows.map((count) => {
    const first = firstRow;
    firstRow += count;
    const { tensor, cols, bias } = whole;
    const part = { tensor, rows: count, cols, firstRow: first };
    return bias === undefined ? part : { ...part, bias: { ...bias, length: count, first } };
  });
}
