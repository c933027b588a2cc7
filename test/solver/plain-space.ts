import { type Matrix, type MatrixSpace, padded } from "../../src/solver/matrix.ts";

/** Matrices in JavaScript's memory; products element by element, in f64. */
export const PLAIN_SPACE: MatrixSpace = {
  allocate(rows, cols): Matrix {
    const stride = padded(cols);
    return { rows, cols, stride, values: new Float32Array(padded(rows) * stride) };
  },
  release() {},
  async subtractProduct(c, a, b, depth, { upper = false, width } = {}) {
    const rows = a.matrix.cols - a.col;
    const cols = Math.min(width ?? Number.POSITIVE_INFINITY, b.matrix.cols - b.col);
    for (let i = 0; i < rows; i++) {
      for (let j = upper ? i : 0; j < cols; j++) {
        let sum = 0;
        for (let k = 0; k < depth; k++) {
          const left = a.matrix.values[(a.row + k) * a.matrix.stride + a.col + i]!;
          sum += left * b.matrix.values[(b.row + k) * b.matrix.stride + b.col + j]!;
        }
        c.matrix.values[(c.row + i) * c.matrix.stride + c.col + j]! -= sum;
      }
    }
  },
};

/** A matrix with these values, row after row. */
export function matrixOf(rows: number, cols: number, values: ArrayLike<number>): Matrix {
  const matrix = PLAIN_SPACE.allocate(rows, cols);
  for (let i = 0; i < rows * cols; i++) {
    matrix.values[Math.floor(i / cols) * matrix.stride + (i % cols)] = values[i]!;
  }
  return matrix;
}
