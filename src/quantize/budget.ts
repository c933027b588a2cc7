/** Which format every matrix gets under a budget of bytes. */

import { at } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import { groupSize, type QuantizedFormat } from "../quant/formats.ts";
import { allocate } from "../solver/allocation.ts";
import type { Loss } from "./head-runner.ts";
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
  /** What decided between settings of their own and one for all; not there where there is no other choice. */
  readonly trial?: Trial;
}

/** Two results on text that they were not adapted to, in nats a token. */
export interface Trial {
  /** The tokens that were predicted. */
  readonly tokens: number;
  readonly mixture: Loss;
  readonly uniform: Loss & { readonly format: string; readonly bytes: number };
  readonly kept: "mixture" | "uniform";
}

type Formats = ReadonlyMap<string, QuantizedFormat>;

/** The loss of every option of every matrix, by tensor: nats a token. */
export type Sensitivities = ReadonlyMap<string, readonly number[]>;

/** The format of every matrix, and what it costs. */
export interface Spending {
  readonly formats: Formats;
  readonly allocation: Allocation;
}

/** Bits a weight of the formats that sensitivities are measured in: enough to be a small error, and few enough to see it. */
const PROBE_BITS = 3.5;

/** The smallest option of every matrix. */
export function smallestFormats(choices: readonly Choice[]): Formats {
  return largestFormats(choices, 0);
}

/** The formats that sensitivities are measured in. */
export function probeFormats(choices: readonly Choice[]): Formats {
  return largestFormats(choices, PROBE_BITS);
}

/** The largest option of every matrix of at most so many bits a weight, or else the smallest. */
function largestFormats(choices: readonly Choice[], bits: number): Formats {
  return new Map(
    choices.map(({ tensor, rows, cols, options }) => {
      const sorted = [...options].sort((a, b) => a.bytes - b.bytes);
      const fitting = sorted.filter(({ bytes }) => 8 * bytes <= bits * rows * cols);
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
 * @param losses as if all were 0 for tensors that have none yet
 */
export function spend(choices: readonly Choice[], losses: Sensitivities, budget: number): Spending {
  const modules = optionsOf(choices, losses);
  const chosen = allocate(modules, budget).map((option, m) => at(at(modules, m), option));
  return spendingOf(choices, chosen, budget);
}

/** The one format for all matrices with the least sum of losses whose bytes keep to the budget, if there is one. */
export function spendEvenly(
  choices: readonly Choice[],
  losses: Sensitivities,
  budget: number,
): Spending | undefined {
  const modules = optionsOf(choices, losses);
  const names = modules[0]?.map(({ format }) => format.name) ?? [];
  const alike = names.flatMap((name) => {
    const chosen = modules.flatMap((options) => options.find(({ format }) => format.name === name) ?? []);
    return chosen.length === modules.length && sum(chosen, "bytes") <= budget ? [chosen] : [];
  });
  const [best] = alike.sort((a, b) => sum(a, "loss") - sum(b, "loss"));
  return best && spendingOf(choices, best, budget);
}

interface PricedOption {
  readonly format: QuantizedFormat;
  readonly bytes: number;
  readonly loss: number;
}

function optionsOf(choices: readonly Choice[], losses: Sensitivities): PricedOption[][] {
  return choices.map(({ tensor, options }) =>
    options.map(({ format, bytes }, o) => ({ format, bytes, loss: losses.get(tensor)?.[o] ?? 0 })),
  );
}

/** @param chosen the option of each matrix */
function spendingOf(choices: readonly Choice[], chosen: readonly PricedOption[], budget: number): Spending {
  const bytes = sum(chosen, "bytes");
  const modules = choices.map(({ tensor, cols }, m): AllocatedModule => {
    const { format, ...cost } = at(chosen, m);
    const { name, bits } = format;
    return { tensor, format: name, bits, groupSize: groupSize(format, cols), ...cost };
  });
  const formats = new Map(choices.map(({ tensor }, m) => [tensor, at(chosen, m).format]));
  return { formats, allocation: { budget, bytes, bitsPerWeight: (8 * bytes) / weightsOf(choices), modules } };
}

function sum(options: readonly PricedOption[], key: "bytes" | "loss"): number {
  return options.reduce((total, option) => total + option[key], 0);
}

function weightsOf(choices: readonly Choice[]): number {
  return choices.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
}

function smallestBytes(choices: readonly Choice[]): number {
  return choices.reduce((sum, { options }) => sum + Math.min(...options.map(({ bytes }) => bytes)), 0);
}
