import type { QuantizedMatrix } from "../solver/quantized-matrix.ts";

/** How far a quantized matrix is from what it was. */
export interface ModuleRecord {
  /** GGUF's name of the tensor. */
  readonly tensor: string;
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  /** Name of the format. */
  readonly format: string;
  readonly method: "rtn" | "gptq";
  /** Σ (w − q)² / Σ w². */
  readonly weightError: number;
  /** Mean square of what its outputs are off by on the calibration text; of `gptq`. */
  readonly outputError?: number;
  /** The damping that the Hessian needed, as a part of its mean diagonal; of `gptq`. */
  readonly damp?: number;
}

/** A matrix of a model, quantized. */
export interface QuantizedTensor {
  readonly matrix: QuantizedMatrix;
  /** Slot i of a row is input `order[i]`; undefined where that is i. */
  readonly order: Uint32Array | undefined;
  readonly record: ModuleRecord;
}

/** The weights that a quantized matrix stands for, by input, [rows, cols]. */
export function weightsOf({ matrix, order }: Pick<QuantizedTensor, "matrix" | "order">): Float32Array {
  const { rows, cols } = matrix;
  const weights = new Float32Array(rows * cols);
  const row = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    const into = weights.subarray(r * cols, (r + 1) * cols);
    if (order === undefined) matrix.values(r, into);
    else {
      matrix.values(r, row);
      for (let i = 0; i < cols; i++) into[order[i]!] = row[i]!;
    }
  }
  return weights;
}

/** Σ (w − q)² / Σ w²; 0 for a matrix of zeros. */
export function weightError(weights: Float32Array, quantized: Float32Array): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    error += (weights[i]! - quantized[i]!) ** 2;
    size += weights[i]! ** 2;
  }
  return size === 0 ? 0 : error / size;
}
