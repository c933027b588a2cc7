/** Llama 3.1's scaling of the rotation: four numbers in config.json, a vector of factors in GGUF. */

import { UnsupportedError } from "../../base/errors.ts";
import type { RopeConfig } from "../../models/model.ts";
import type { Settings } from "./family.ts";
import { MAX_DIMENSION } from "./settings.ts";

export interface Llama3Scaling {
  readonly factor: number;
  /** Turns in the original context up to which a pair is slowed down by `factor`, and from which on it is kept. */
  readonly low: number;
  readonly high: number;
  readonly original: number;
}

/** Pair i's share of the way from the slow ones (0) to the kept ones (1), before it is cut off there. */
function turnsOf(base: number, rotated: number, i: number): number {
  return base ** ((-2 * i) / rotated) / (2 * Math.PI);
}

/**
 * Divisors of the frequencies, one per pair of `rotated` dimensions: those that turn seldom in the original context are
 * slowed down by `factor`, fast ones kept, with a ramp between.
 */
export function llama3Factors(
  { factor, low, high, original }: Llama3Scaling,
  base: number,
  rotated: number,
): Float32Array {
  return Float32Array.from({ length: rotated / 2 }, (_, i) => {
    const turns = original * turnsOf(base, rotated, i);
    const ramp = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return 1 / ((1 - ramp) / factor + ramp);
  });
}

/** What all published models have. */
const LOW = 1;
const HIGH = 4;
/** How far factors may be from those of the numbers that are found for them: some roundings of f32. */
const TOLERANCE = 1e-6;

/**
 * The numbers that give these factors. Only two of low, high and the original context count, so low is 1. Throws
 * `UnsupportedError` where no numbers do.
 */
export function llama3Scaling({ base, rotated }: RopeConfig, factors: Float32Array): Settings {
  const factor = Math.max(...factors);
  const found = candidates(base, rotated, factors, factor).find((scaling) => {
    const again = llama3Factors(scaling, base, rotated);
    return again.every((value, i) => Math.abs(value / factors[i]! - 1) < TOLERANCE);
  });
  if (found === undefined) {
    throw new UnsupportedError("factors of the rotation (rope_freqs.weight) that are not Llama 3.1's");
  }
  return {
    rope_type: "llama3",
    factor: found.factor,
    low_freq_factor: found.low,
    high_freq_factor: found.high,
    original_max_position_embeddings: found.original,
  };
}

function candidates(base: number, rotated: number, factors: Float32Array, most: number): Llama3Scaling[] {
  const factor = Number(most.toPrecision(6));
  const of = (original: number, high = HIGH): Llama3Scaling => ({
    factor,
    low: LOW,
    high: Number(high.toPrecision(4)),
    original: Math.min(MAX_DIMENSION, Math.max(1, Math.round(original))),
  });
  const ramped = [...factors].flatMap((value, i) => {
    const ramp = (1 / value - 1 / most) / (1 - 1 / most);
    return value > 1 && value < most ? [{ ramp, turns: turnsOf(base, rotated, i) }] : [];
  });
  const [first, last] = [ramped[0], ramped.at(-1)];
  if (first === undefined || last === undefined) {
    // Any ramp does that lies between the last that is kept and the first that is slowed down.
    const slowed = factors.findIndex((value) => value > 1);
    const turns = turnsOf(base, rotated, slowed);
    const kept = turnsOf(base, rotated, slowed - 1);
    return [of(Math.floor(LOW / turns), Math.min(HIGH, LOW * Math.sqrt(kept / turns)))];
  }
  const usual = of((LOW + first.ramp * (HIGH - LOW)) / first.turns);
  if (first === last) return [usual];
  // ramp = a · turns + b with a = original / (high − low) and b = −low / (high − low).
  const a = (first.ramp - last.ramp) / (first.turns - last.turns);
  const width = -LOW / (first.ramp - a * first.turns);
  return [usual, of(a * width, LOW + width)];
}
