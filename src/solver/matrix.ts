import { alignUp } from "../base/bytes.ts";

/** Rows and columns of dense matrices are padded with zeros to multiples of this, so that kernels have whole tiles. */
export const TILE = 64;

/** A dense f32 matrix in memory that products are computed in. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  /** Values from one row to the next: `cols`, padded. */
  readonly stride: number;
  /** [rows, padded][stride]; what is outside of the matrix is zero. */
  readonly values: Float32Array;
}

/** A matrix from a row and a column on, to its end. */
export interface Corner {
  readonly matrix: Matrix;
  readonly row: number;
  readonly col: number;
}

/** Where matrices live, and the one product that the solver needs. */
export interface MatrixSpace {
  /** Zeroed. */
  allocate(rows: number, cols: number): Matrix;
  release(matrix: Matrix): void;
  /**
   * c ← c − aᵀ · b, over `depth` rows of a and b: c's rows are the columns of a from its corner to its end, c's columns
   * those of b. With `upper` only what is on or above the diagonal of c need be right. With `width` only so many columns
   * of c and b count, a multiple of `TILE` from their corners on.
   */
  subtractProduct(
    c: Corner,
    a: Corner,
    b: Corner,
    depth: number,
    how?: { readonly upper?: boolean; readonly width?: number },
  ): Promise<void>;
}

/** Values of rows and columns with their padding. */
export function padded(count: number): number {
  return alignUp(count, TILE);
}

/** Row `i` of a matrix. */
export function rowOf({ values, stride, cols }: Matrix, i: number): Float32Array {
  return values.subarray(i * stride, i * stride + cols);
}
