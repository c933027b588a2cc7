/** How much time measuring takes. */
export interface Effort {
  /** One pass lasts about this long. */
  readonly passMs: number;
  readonly passes: number;
  /** The least that is read in one repeat of a memory pass, where the machine has it. */
  readonly bufferBytes: number;
}

export const FULL_EFFORT: Effort = { passMs: 100, passes: 5, bufferBytes: 2 ** 30 };

/** Kernels count repeats in an i32. */
const MAX_REPEATS = 2 ** 30;
/** A trial shorter than this part of a pass says too little about how long a pass will be. */
const TRIAL_PART = 1 / 8;

/**
 * Finds how many repeats make a pass, then runs the passes. `prepare` returns the action that does so many repeats.
 * Returns the repeats a second of every pass.
 */
export async function timeRepeats(
  prepare: (repeats: number) => () => Promise<void>,
  { passMs, passes }: Effort,
): Promise<number[]> {
  let repeats = 1;
  for (;;) {
    const ms = await milliseconds(prepare(repeats));
    if (ms >= passMs * TRIAL_PART || repeats === MAX_REPEATS) {
      repeats = Math.max(1, Math.min(MAX_REPEATS, Math.round((repeats * passMs) / ms)));
      break;
    }
    const growth = Math.max(2, Math.min(64, Math.ceil(passMs / ms / 2)));
    repeats = Math.min(MAX_REPEATS, repeats * growth);
  }
  const action = prepare(repeats);
  const rates: number[] = [];
  for (let pass = 0; pass < passes; pass++) rates.push((repeats * 1000) / (await milliseconds(action)));
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
