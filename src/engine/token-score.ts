import { at } from "../base/assert.ts";
import { SCORE } from "../kernels/score.ts";

/** How likely a model finds a token. */
export interface TokenScore {
  /** Natural logarithm; NaN where the model's logits are not finite. */
  readonly logProbability: number;
  /** Whether no token is likelier. */
  readonly top: boolean;
}

/** How likely two models find a token, and how far their predictions are apart. */
export interface ComparedScore extends TokenScore {
  readonly base: TokenScore;
  /** Kullback–Leibler divergence of the model from the base, over all tokens: nats. */
  readonly divergence: number;
  /** Whether the same token is the likeliest for both. */
  readonly sameTop: boolean;
}

/** Reads the n-th record that the `score` kernel left. */
export function tokenScore(records: Float32Array, n: number): TokenScore {
  return scoreAt(records, n * SCORE.values);
}

export function comparedScore(records: Float32Array, n: number): ComparedScore {
  const start = n * SCORE.values;
  const [own, base] = [scoreAt(records, start), scoreAt(records, start + SCORE.base)];
  const sum = at(records, start + SCORE.sum);
  const baseSum = at(records, start + SCORE.base + SCORE.sum);
  const apart = at(records, start + SCORE.weighted) / baseSum;
  // Where neither sum is damaged, only an impossible token makes it NaN: one that the base holds possible.
  const exact = Number.isNaN(apart) ? Number.POSITIVE_INFINITY : apart + Math.log(sum / baseSum);
  const damaged = Number.isNaN(own.logProbability + base.logProbability);
  // Rounding of f32 sums may leave less than nothing.
  const divergence = damaged ? Number.NaN : Math.max(0, exact);
  return { ...own, base, divergence, sameTop: at(records, start + SCORE.sameTop) > 0 };
}

function scoreAt(records: Float32Array, start: number): TokenScore {
  const [largest, sum, target] = [SCORE.largest, SCORE.sum, SCORE.target].map((value) =>
    at(records, start + value),
  ) as [number, number, number];
  const logProbability = Number.isFinite(sum) ? target - largest - Math.log(sum) : Number.NaN;
  return { logProbability, top: target === largest };
}
