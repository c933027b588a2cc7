import { at } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";

/** One way to quantize a module. */
export interface Option {
  readonly bytes: number;
  /** What it costs in accuracy, in any unit that adds up over modules. */
  readonly loss: number;
}

/** Steps that the bytes above the least are divided into; what a module takes is rounded up to a whole one. */
const STEPS = 1 << 16;

/**
 * Chooses an option for every module: the least sum of losses whose bytes are at most `budget` (a multiple-choice
 * knapsack, solved by dynamic programming over the bytes above the least possible). Gives the index of every module's
 * option. Bytes are counted in steps of (budget − least) / 65,536, rounded up, so that the budget is never exceeded and at
 * most that many bytes per module stay unused.
 *
 * @throws UsageError where even the smallest options do not fit
 */
export function allocate(modules: readonly (readonly Option[])[], budget: number): number[] {
  const least = modules.map((options) => Math.min(...options.map(({ bytes }) => bytes)));
  const smallest = least.reduce((sum, bytes) => sum + bytes, 0);
  if (smallest > budget) {
    throw new UsageError(
      `${budget} bytes are too few: the smallest settings of all modules take ${smallest}`,
    );
  }
  const step = Math.max(1, (budget - smallest) / STEPS);
  const room = Math.floor((budget - smallest) / step);
  const costs = modules.map((options, m) =>
    options.map(({ bytes }) => Math.ceil((bytes - at(least, m)) / step - ROUNDING)),
  );
  // choice[m][r]: what the best of the first m + 1 modules takes last, with r steps for all of them.
  let losses: Float64Array = new Float64Array(room + 1);
  const choices = modules.map((options, m) => {
    const choice = new Uint8Array(room + 1);
    const next = new Float64Array(room + 1).fill(Number.POSITIVE_INFINITY);
    options.forEach(({ loss }, o) => {
      const cost = at(at(costs, m), o);
      for (let r = cost; r <= room; r++) {
        const sum = (losses[r - cost] as number) + loss;
        if (sum < (next[r] as number)) {
          next[r] = sum;
          choice[r] = o;
        }
      }
    });
    losses = next;
    return choice;
  });
  return chosen(choices, costs, room);
}

/** Of a step: what dividing by it may leave of a whole number. */
const ROUNDING = 1e-9;

/** From the last module back to the first. */
function chosen(
  choices: readonly Uint8Array[],
  costs: readonly (readonly number[])[],
  room: number,
): number[] {
  let left = room;
  const reversed = choices.map((_, i) => {
    const m = choices.length - 1 - i;
    const option = at(choices, m)[left] as number;
    left -= at(at(costs, m), option);
    return option;
  });
  return reversed.reverse();
}
