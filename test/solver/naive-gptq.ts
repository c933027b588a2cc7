/**
 * GPTQ written down as its paper defines it, all in f64: after every column the inverse of the Hessian of what is left,
 * by Gaussian elimination (equation 3 of Frantar et al. 2022), without blocks and without Cholesky.
 */

export interface NaiveProblem {
  readonly rows: number;
  readonly cols: number;
  readonly weights: Float32Array;
  /** [cols][cols], damped. */
  readonly hessian: Float64Array;
  /** The input of each step. */
  readonly order: ArrayLike<number>;
  /** Called before step `p`, with the weights as they are by then, [rows][cols] by input. */
  readonly before: (p: number, weights: Float64Array) => void;
  /** The value that a weight of input `c` gets. */
  readonly round: (row: number, c: number, weight: number) => number;
}

/** Quantized weights by input, and what each weight was when it was rounded. */
export function naiveGptq(problem: NaiveProblem): { quantized: Float64Array; seen: Float64Array } {
  const { rows, cols, order, before, round } = problem;
  const weights = Float64Array.from(problem.weights);
  const inverse = invert(problem.hessian, cols);
  const quantized = new Float64Array(rows * cols);
  const seen = new Float64Array(rows * cols);
  for (let p = 0; p < cols; p++) {
    const c = order[p]!;
    before(p, weights);
    const pivot = inverse[c * cols + c]!;
    for (let r = 0; r < rows; r++) {
      const weight = weights[r * cols + c]!;
      seen[r * cols + c] = weight;
      const value = round(r, c, weight);
      quantized[r * cols + c] = value;
      const error = (weight - value) / pivot;
      for (let j = p; j < cols; j++) weights[r * cols + order[j]!]! -= error * inverse[c * cols + order[j]!]!;
    }
    eliminate(inverse, cols, c);
  }
  return { quantized, seen };
}

/** From the inverse of a Hessian to that of the Hessian without input `c`. */
function eliminate(inverse: Float64Array, n: number, c: number): void {
  const pivot = inverse[c * n + c]!;
  const row = inverse.slice(c * n, (c + 1) * n);
  for (let i = 0; i < n; i++) {
    const factor = inverse[i * n + c]! / pivot;
    for (let j = 0; j < n; j++) inverse[i * n + j]! -= factor * row[j]!;
  }
}

/** Gauss and Jordan, with pivots. */
export function invert(matrix: Float64Array, n: number): Float64Array {
  const a = Float64Array.from(matrix);
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) inverse[i * n + i] = 1;
  for (let c = 0; c < n; c++) {
    let best = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(a[r * n + c]!) > Math.abs(a[best * n + c]!)) best = r;
    for (let j = 0; j < n; j++) {
      [a[c * n + j], a[best * n + j]] = [a[best * n + j]!, a[c * n + j]!];
      [inverse[c * n + j], inverse[best * n + j]] = [inverse[best * n + j]!, inverse[c * n + j]!];
    }
    const pivot = a[c * n + c]!;
    for (let j = 0; j < n; j++) {
      a[c * n + j]! /= pivot;
      inverse[c * n + j]! /= pivot;
    }
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const factor = a[r * n + c]!;
      for (let j = 0; j < n; j++) {
        a[r * n + j]! -= factor * a[c * n + j]!;
        inverse[r * n + j]! -= factor * inverse[c * n + j]!;
      }
    }
  }
  return inverse;
}
