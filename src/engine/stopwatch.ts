/** How much time measuring takes. */
export interface Effort {
  /** One pass lasts at least this long. */
  readonly passMs: number;
  readonly passes: number;
  /** The least that is read in one repeat of a memory pass, where the machine has it. */
  readonly bufferBytes: number;
}

export const FULL_EFFORT: Effort = { passMs: 100, passes: 5, bufferBytes: 2 ** 30 };

/** Kernels count repeats in an i32. */
const MAX_REPEATS = 2 ** 30;
/** Trials grow by at most this factor, since a very short one says little. */
const MAX_GROWTH = 64;
/** How much longer than wanted the next trial is meant to be, so that few are too short. */
const MARGIN = 1.3;

/**
 * Makes passes longer until as many as wanted were long enough; `prepare` returns the action that does so many
 * repeats. Passes before one that was too short are dropped with it: they were held up by something else.
 * Returns the repeats a second of every pass.
 */
export async function timeRepeats(
  prepare: (repeats: number) => () => Promise<void>,
  { passMs, passes }: Effort,
): Promise<number[]> {
  let repeats = 1;
  let action = prepare(repeats);
  const rates: number[] = [];
  while (rates.length < passes) {
    const ms = await milliseconds(action);
    if (ms >= passMs || repeats === MAX_REPEATS) {
      rates.push((repeats * 1000) / ms);
    } else {
      rates.length = 0;
      repeats = Math.min(MAX_REPEATS, Math.ceil(repeats * Math.min(MAX_GROWTH, (MARGIN * passMs) / ms)));
      action = prepare(repeats);
    }
  }
  return rates;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

async function milliseconds(action: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}
