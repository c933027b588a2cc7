/** GPTQ (Frantar et al. 2022): rounds a matrix column by column, and lets the columns that are left make up for it. */

import { UsageError } from "../base/errors.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
import { type ColumnOrder, type Ordering, orderColumns } from "./column-order.ts";
import { inverseFactor } from "./inverse-factor.ts";
import { type Matrix, type MatrixSpace, rowOf } from "./matrix.ts";
import { QuantizedMatrix } from "./quantized-matrix.ts";

/** Columns that are rounded before the rest of the matrix hears of them, in one product. */
const BLOCK = 128;
/** What the damping is multiplied by where a Hessian is still not positive definite, and how often at most. */
const MORE_DAMP = 10;
const ATTEMPTS = 4;

export interface SolverOptions {
  readonly format: QuantizedFormat;
  /** Added to the diagonal, as a part of its mean. */
  readonly damp: number;
  readonly order: Ordering;
  /** The least integer zero point that the format's file can hold. */
  readonly leastZero?: number;
}

export interface Solution {
  readonly matrix: QuantizedMatrix;
  /** Slot i of the matrix has the weights of input `order[i]`; undefined where that is i. */
  readonly order: Uint32Array | undefined;
  /** tr((W − Q) H (W − Q)ᵀ) with the damped H, as the algorithm adds it up. */
  readonly error: number;
  /** The damping that made H positive definite. */
  readonly damp: number;
}

/** What is solved for all matrices of one input: the order of its columns, and the factor of the inverse Hessian. */
export interface FactoredHessian {
  readonly columns: ColumnOrder;
  /** U, of the permuted, damped Hessian H: UᵀU = H⁻¹. */
  readonly factor: Matrix;
  /** Of every input: none of its values was ever other than 0. */
  readonly dead: Uint8Array;
  readonly damp: number;
}

/**
 * Permutes, damps and factors H = Σ x xᵀ [cols, cols], which it leaves as it is. Inputs that were never other than 0
 * count for nothing: their weights become 0, as in the authors' own code.
 *
 * Throws `UsageError` for a Hessian that is not finite.
 */
export async function factorHessian(
  hessian: Matrix,
  options: Pick<SolverOptions, "damp" | "order" | "format">,
  space: MatrixSpace,
): Promise<FactoredHessian> {
  const cols = hessian.rows;
  const diagonal = Float32Array.from({ length: cols }, (_, i) => hessian.values[i * hessian.stride + i]!);
  if (!diagonal.every(Number.isFinite)) throw new UsageError("the inputs of a layer are not finite");
  const dead = Uint8Array.from(diagonal, (value) => (value === 0 ? 1 : 0));
  const columns = orderColumns(diagonal, options.format, options.order);
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / cols || 1;
  let damp = options.damp;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++, damp = Math.max(1e-4, damp * MORE_DAMP)) {
    const permuted = permute(hessian, columns.inputs, dead, damp * mean, space);
    const factor = await inverseFactor(permuted, space);
    space.release(permuted);
    if (factor !== undefined) return { columns, factor, dead, damp };
  }
  throw new UsageError(`a Hessian is not positive definite, damped by ${damp} of its mean diagonal`);
}

function permute(
  from: Matrix,
  inputs: Uint32Array,
  dead: Uint8Array,
  added: number,
  space: MatrixSpace,
): Matrix {
  const to = space.allocate(from.rows, from.rows);
  for (let i = 0; i < from.rows; i++) {
    const [source, target] = [inputs[i]!, rowOf(to, i)];
    for (let j = 0; j < from.rows; j++) {
      // Only one half of a symmetric matrix is kept: above the diagonal.
      const [a, b] = [source, inputs[j]!];
      target[j] = from.values[a <= b ? a * from.stride + b : b * from.stride + a]!;
    }
    target[i]! += added + (dead[source] === 1 ? 1 : 0);
  }
  return to;
}

/**
 * Rounds W [rows, cols] to a format such that tr((W − Q) H (W − Q)ᵀ) is small. Levels of a block of columns are found
 * when the algorithm reaches it, from what the weights are by then.
 *
 * Throws `UsageError` for weights that the format cannot hold.
 */
export async function solve(
  weights: Float32Array,
  rows: number,
  hessian: FactoredHessian,
  options: SolverOptions,
  space: MatrixSpace,
): Promise<Solution> {
  const solver = new Solver(weights, rows, hessian, options, space);
  try {
    await solver.run();
  } finally {
    solver.release();
  }
  const { order } = hessian.columns;
  return { matrix: solver.matrix, order, error: solver.error, damp: hessian.damp };
}

class Solver {
  readonly matrix: QuantizedMatrix;
  error = 0;
  /** [cols][rows], in the order of the columns: what is left to be rounded, with all that it must make up for. */
  private readonly work: Matrix;
  /** [BLOCK][rows]: errors of the columns of a block, over their pivots. */
  private readonly errors: Matrix;
  private readonly cols: number;

  constructor(
    weights: Float32Array,
    private readonly rows: number,
    private readonly hessian: FactoredHessian,
    { format, leastZero }: SolverOptions,
    private readonly space: MatrixSpace,
  ) {
    const { inputs } = hessian.columns;
    this.cols = inputs.length;
    this.matrix = new QuantizedMatrix(format, rows, this.cols, leastZero);
    this.work = space.allocate(this.cols, rows);
    this.errors = space.allocate(BLOCK, rows);
    for (let c = 0; c < this.cols; c++) {
      const input = inputs[c]!;
      if (hessian.dead[input] === 1) continue;
      const column = rowOf(this.work, c);
      for (let r = 0; r < rows; r++) column[r] = weights[r * this.cols + input]!;
    }
  }

  async run(): Promise<void> {
    const { work, errors, space, cols } = this;
    for (let from = 0; from < cols; from += BLOCK) {
      const to = Math.min(cols, from + BLOCK);
      for (let c = from; c < to; c++) this.roundColumn(c, from, to);
      if (to === cols) return;
      const factor = { matrix: this.hessian.factor, row: from, col: to };
      const error = { matrix: errors, row: 0, col: 0 };
      await space.subtractProduct({ matrix: work, row: to, col: 0 }, factor, error, to - from);
    }
  }

  /** Rounds a column of the block `from` … `to`, and tells those after it in the block. */
  private roundColumn(c: number, from: number, to: number): void {
    const { work, errors, hessian, matrix, rows } = this;
    const { factor, columns } = hessian;
    if (c % matrix.block === 0) this.fitBlock(c);
    const [column, error] = [rowOf(work, c), rowOf(errors, c - from)];
    const pivot = factor.values[c * factor.stride + c]!;
    const slot = columns.slots[c]!;
    for (let r = 0; r < rows; r++) {
      const weight = column[r]!;
      const left = (weight - matrix.round(r, slot, weight)) / pivot;
      error[r] = left;
      this.error += left * left;
    }
    for (let next = c + 1; next < to; next++) {
      const share = factor.values[c * factor.stride + next]!;
      const target = rowOf(work, next);
      for (let r = 0; r < rows; r++) target[r]! -= error[r]! * share;
    }
  }

  /** Finds the levels of the block of slots that the columns from `c` on are of. */
  private fitBlock(c: number): void {
    const { work, hessian, matrix, rows, cols } = this;
    const { slots } = hessian.columns;
    const length = Math.min(matrix.block, cols - c);
    const block = Math.floor(slots[c]! / matrix.block);
    const weights = new Float32Array(length);
    const places = slots.subarray(c, c + length).map((slot) => slot - block * matrix.block);
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < length; i++) weights[places[i]!] = work.values[(c + i) * work.stride + r]!;
      matrix.fit(r, block, weights);
    }
  }

  release(): void {
    this.space.release(this.work);
    this.space.release(this.errors);
  }
}
