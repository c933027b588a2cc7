/** How far two predictions of the next token are apart. */

import { at } from "../../src/base/assert.ts";

/** Logits → natural logarithms of probabilities. */
export function logProbabilities(logits: ArrayLike<number>): Float64Array {
  const logs = Float64Array.from(logits);
  const greatest = logs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logs.reduce((total, logit) => total + Math.exp(logit - greatest), 0);
  const shift = greatest + Math.log(sum);
  return logs.map((logit) => logit - shift);
}

/** Kullback–Leibler divergence of q from p, in nats; both as logarithms. */
export function klDivergence(p: Float64Array, q: Float64Array): number {
  return p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - at(q, i)), 0);
}

/** Mean divergence over the positions of texts. */
export function meanKl(p: readonly Float64Array[], q: readonly Float64Array[]): number {
  return p.reduce((sum, position, i) => sum + klDivergence(position, at(q, i)), 0) / p.length;
}

/** The most probable token, and by how much (nats) it leads the next. */
export function top(logs: Float64Array): { readonly token: number; readonly margin: number } {
  let token = 0;
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 1; i < logs.length; i++) {
    if (at(logs, i) > at(logs, token)) {
      second = at(logs, token);
      token = i;
    } else if (at(logs, i) > second) second = at(logs, i);
  }
  return { token, margin: at(logs, token) - second };
}

/** Positions where p leads by more than `margin` and q has another favourite. */
export function disagreements(
  p: readonly Float64Array[],
  q: readonly Float64Array[],
  margin: number,
): { readonly position: number; readonly margin: number }[] {
  return p.flatMap((logs, position) => {
    const favourite = top(logs);
    const differs = favourite.margin > margin && top(at(q, position)).token !== favourite.token;
    return differs ? [{ position, margin: favourite.margin }] : [];
  });
}

/** Standard deviation of one position's logits over the vocabulary. */
export function spread(logs: Float64Array): number {
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
  return Math.sqrt(logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logs.length);
}
