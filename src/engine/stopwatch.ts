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

/** Does something so many times. */
export type Calls = (count: number) => Promise<void>;

/**
 * Times several things in turns: pass 1 of all of them, pass 2 of all of them, …, so that what disturbs the machine for
 * a while disturbs all of them. A pass lasts about `passMs` and is one call at least. Returns, for each, the seconds of
 * one call in every pass.
 */
export async function timeInTurns(
  works: readonly Calls[],
  { passMs, passes }: Pick<Effort, "passMs" | "passes">,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<number[][]> {
  const timed = works.map((work) => ({ work, count: 1, seconds: [] as number[] }));
  const total = works.length * (passes + 1);
  let done = 0;
  for (const entry of timed) {
    entry.count = await callsOfPass(entry.work, passMs);
    onProgress(++done, total);
  }
  for (let pass = 0; pass < passes; pass++) {
    for (const { work, count, seconds } of timed) {
      seconds.push((await milliseconds(() => work(count))) / 1000 / count);
      onProgress(++done, total);
    }
  }
  return timed.map(({ seconds }) => seconds);
}

/** The number of calls that lasts about `passMs`. The first call finds code and data cold and does not count. */
async function callsOfPass(work: Calls, passMs: number): Promise<number> {
  await work(1);
  for (let count = 1; ; count *= 4) {
    const ms = await milliseconds(() => work(count));
    if (ms >= passMs / 4) return Math.max(1, Math.round((count * passMs) / ms));
  }
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
