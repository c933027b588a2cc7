import type { Rng } from "../../src/base/rng.ts";
import { paddedCols } from "../../src/kernels/activations.ts";

/** Rows of `cols` values as kernels take them: each padded with zeros. */
export function paddedRows(values: ArrayLike<number>, cols: number): Float32Array {
  const rows = values.length / cols;
  const stride = paddedCols(cols);
  const padded = new Float32Array(rows * stride);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < cols; i++) padded[r * stride + i] = values[r * cols + i]!;
  return padded;
}

export function normals(rng: Rng, count: number, size = 1): Float32Array {
  return Float32Array.from({ length: count }, () => size * rng.normal());
}

/** A row as a norm makes it before weights, in f64. */
export function normOf(kind: "rms" | "layer", values: Float32Array, epsilon: number): number[] {
  const mean = kind === "rms" ? 0 : values.reduce((sum, v) => sum + v, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  return Array.from(values, (v) => (v - mean) / Math.sqrt(variance + epsilon));
}
