/** Predictions and their statistics from full rows of logits, in f64. */

import type { Model } from "../../src/api/index.ts";

/** Natural logarithms of probabilities. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Float64Array.from(logits, (logit) => logit - largest - Math.log(sum));
}

/** A token that is scored: the predictions before it, and its id. */
export interface Scored {
  readonly logs: Float64Array;
  readonly token: number;
}

export const logOf = ({ logs, token }: Scored) => logs[token] as number;

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Standard error of the mean. */
export function standardError(values: readonly number[]): number {
  const average = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - average) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

/** Of texts, the tokens that `wanted` says by index. */
export async function scoredOf(
  model: Model,
  texts: readonly { readonly ids: readonly number[]; readonly wanted: (index: number) => boolean }[],
): Promise<Scored[]> {
  const all: Scored[] = [];
  for (const { ids, wanted } of texts) {
    const rows = await model.evaluate(ids);
    ids.forEach((token, i) => {
      if (i > 0 && wanted(i)) all.push({ logs: logSoftmax(rows[i - 1] as Float32Array), token });
    });
  }
  return all;
}

export function klDivergence(base: Float64Array, other: Float64Array): number {
  return base.reduce((sum, log, i) => sum + Math.exp(log) * (log - (other[i] as number)), 0);
}
