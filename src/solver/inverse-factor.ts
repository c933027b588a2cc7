/** The triangular factor of an inverse, by blocks. */

import { type Matrix, type MatrixSpace, padded, rowOf } from "./matrix.ts";

/** Rows that are factored at a time in JavaScript; all else is matrix products. A multiple of `TILE`. */
const BLOCK = 64;

/**
 * The upper triangular U with UᵀU = H⁻¹, for a symmetric H [n, n] that it overwrites. Undefined where H is not positive
 * definite, in f32. n³ multiply-adds in all.
 *
 * With J the reversal of rows and columns, JHJ = VᵀV (V upper triangular, Cholesky), so H = RRᵀ with R = JVᵀJ upper
 * triangular, and U = R⁻¹ = J V⁻ᵀ J: no inverse is formed and factored again.
 */
export async function inverseFactor(h: Matrix, space: MatrixSpace): Promise<Matrix | undefined> {
  const n = h.rows;
  reverse(h);
  const t = space.allocate(n, n);
  for (let i = 0; i < n; i++) t.values[i * t.stride + i] = 1;
  for (let from = 0; from < n; from += BLOCK) {
    const to = Math.min(n, from + BLOCK);
    if (!factorBlock(h, t, from, to)) {
      space.release(t);
      return undefined;
    }
    if (to === n) break;
    const rest = { matrix: h, row: from, col: to };
    await space.subtractProduct({ matrix: h, row: to, col: to }, rest, rest, to - from, { upper: true });
    const width = padded(to);
    const done = { matrix: t, row: from, col: 0 };
    await space.subtractProduct({ matrix: t, row: to, col: 0 }, rest, done, to - from, { width });
  }
  reverse(t);
  return t;
}

/** Rows and columns in opposite order. */
function reverse(matrix: Matrix): void {
  const { rows } = matrix;
  for (let i = 0, j = rows - 1; i <= j; i++, j--) {
    const [first, last] = [rowOf(matrix, i), rowOf(matrix, j)];
    first.reverse();
    if (i === j) return;
    last.reverse();
    const kept = first.slice();
    first.set(last);
    last.set(kept);
  }
}

/** Rows `from` … `to` of V in place of H's, and of V⁻ᵀ in T. Whether all pivots are positive. */
function factorBlock(h: Matrix, t: Matrix, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const row = rowOf(h, i);
    const solved = rowOf(t, i);
    for (let k = from; k < i; k++) {
      const factor = h.values[k * h.stride + i]!;
      subtractRow(row, rowOf(h, k), factor, i, row.length);
      subtractRow(solved, rowOf(t, k), factor, 0, i);
    }
    const pivot = row[i]!;
    if (!(pivot > 0 && Number.isFinite(pivot))) return false;
    const scale = 1 / Math.sqrt(pivot);
    for (let j = i; j < row.length; j++) row[j]! *= scale;
    for (let j = 0; j <= i; j++) solved[j]! *= scale;
  }
  return true;
}

function subtractRow(
  from: Float32Array,
  row: Float32Array,
  factor: number,
  start: number,
  end: number,
): void {
  for (let j = start; j < end; j++) from[j]! -= factor * row[j]!;
}
