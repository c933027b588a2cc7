/** Which format every matrix gets under a budget of bytes. */

import { at } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import { groupSize, type QuantizedFormat } from "../quant/formats.ts";
import { allocate } from "../solver/allocation.ts";
import type { Limit } from "./options.ts";

/** A matrix, and the formats that it may get. */
export interface Choice {
  readonly tensor: string;
  readonly rows: number;
  readonly cols: number;
  readonly options: readonly { readonly format: QuantizedFormat; readonly bytes: number }[];
}

/** The format that a matrix got. */
export interface AllocatedModule {
  readonly tensor: string;
  readonly format: string;
  readonly bits: number;
  readonly groupSize: number;
  /** Of codes, scales and zero points. */
  readonly bytes: number;
  /** What the predictions diverge by if only this matrix is quantized, as estimated: nats a token. */
  readonly loss: number;
}

/** How a budget was spent. */
export interface Allocation {
  /** Bytes that the matrices may take together, and those that they take. */
  readonly budget: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly modules: readonly AllocatedModule[];
}

type Formats = ReadonlyMap<string, QuantizedFormat>;

/** The smallest option of every matrix. */
export function smallestFormats(choices: readonly Choice[]): Formats {
  return evenFormats(choices, 0);
}

/** The largest option of every matrix that keeps to the budget if all matrices are alike, or else the smallest. */
export function evenFormats(choices: readonly Choice[], budget: number): Formats {
  const share = budget / weightsOf(choices);
  return new Map(
    choices.map(({ tensor, rows, cols, options }) => {
      const sorted = [...options].sort((a, b) => a.bytes - b.bytes);
      const fitting = sorted.filter(({ bytes }) => bytes <= share * rows * cols);
      return [tensor, (fitting.at(-1) ?? at(sorted, 0)).format];
    }),
  );
}

/**
 * Bytes that the matrices may take. Throws `UsageError` where the whole result cannot be as small as is wanted.
 *
 * @param outputBytes of the whole result with its matrices in given formats
 */
export async function budgetOf(
  limit: Limit,
  choices: readonly Choice[],
  outputBytes: (formats: Formats) => Promise<number>,
): Promise<number> {
  if ("bitsPerWeight" in limit) return Math.floor((limit.bitsPerWeight * weightsOf(choices)) / 8);
  const least = await outputBytes(smallestFormats(choices));
  if (limit.outputBytes < least) {
    throw new UsageError(`${limit.outputBytes} bytes are too few: the smallest result takes ${least}`);
  }
  return Math.floor(limit.outputBytes - least) + smallestBytes(choices);
}

/**
 * The formats with the least sum of losses whose bytes keep to the budget. Throws `UsageError` where even the smallest do
 * not.
 *
 * @param losses of the options of every matrix; as if all were 0 where there are none yet
 */
export function spend(
  choices: readonly Choice[],
  losses: ReadonlyMap<string, readonly number[]>,
  budget: number,
): { readonly formats: Formats; readonly allocation: Allocation } {
  const modules = choices.map(({ tensor, options }) =>
    options.map(({ format, bytes }, o) => ({ format, bytes, loss: losses.get(tensor)?.[o] ?? 0 })),
  );
  const chosen = allocate(modules, budget).map((option, m) => at(at(modules, m), option));
  const formats = new Map(choices.map(({ tensor }, m) => [tensor, at(chosen, m).format]));
  const bytes = chosen.reduce((sum, one) => sum + one.bytes, 0);
  const allocation = {
    budget,
    bytes,
    bitsPerWeight: (8 * bytes) / weightsOf(choices),
    modules: choices.map(({ tensor, cols }, m) => {
      const { format, ...cost } = at(chosen, m);
      const { name, bits } = format;
      return { tensor, format: name, bits, groupSize: groupSize(format, cols), ...cost };
    }),
  };
  return { formats, allocation };
}

function weightsOf(choices: readonly Choice[]): number {
  return choices.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
}

function smallestBytes(choices: readonly Choice[]): number {
  return choices.reduce((sum, { options }) => sum + Math.min(...options.map(({ bytes }) => bytes)), 0);
}
