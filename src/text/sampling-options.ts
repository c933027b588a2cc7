import { UsageError } from "../base/errors.ts";

/** How the next token is chosen; see `Sampler` for the meaning and order of the steps. */
export interface SamplingOptions {
  /** 0 always takes the likeliest token; below 1 sharpens, above 1 flattens. 0 to 100, default 0.8. */
  readonly temperature?: number | undefined;
  /** Keep the so many likeliest tokens; 0 keeps all. Default 40. */
  readonly topK?: number | undefined;
  /** Keep the likeliest tokens that together have this probability; 1 keeps all. 0 to 1, default 0.95. */
  readonly topP?: number | undefined;
  /** Keep tokens with at least this fraction of the likeliest one's probability; 0 keeps all. 0 to 1, default 0.05. */
  readonly minP?: number | undefined;
  /** Divides the (positive) logits of recent tokens; 1 does nothing. 0.01 to 100, default 1. */
  readonly repeatPenalty?: number | undefined;
  /** How many tokens are recent, the prompt's included. Default 64. */
  readonly repeatLastN?: number | undefined;
  /** The same seed gives the same tokens for the same logits: 0 to 2^32 − 1. Default: a random one. */
  readonly seed?: number | undefined;
}

export type ResolvedSampling = { readonly [K in keyof SamplingOptions]-?: number };

interface Range {
  readonly least: number;
  readonly most: number;
  readonly integer?: true;
  readonly fallback: () => number;
}

const RANGES: { readonly [K in keyof ResolvedSampling]: Range } = {
  temperature: { least: 0, most: 100, fallback: () => 0.8 },
  topK: { least: 0, most: 2 ** 31 - 1, integer: true, fallback: () => 40 },
  topP: { least: 0, most: 1, fallback: () => 0.95 },
  minP: { least: 0, most: 1, fallback: () => 0.05 },
  repeatPenalty: { least: 0.01, most: 100, fallback: () => 1 },
  repeatLastN: { least: 0, most: 1 << 20, integer: true, fallback: () => 64 },
  seed: { least: 0, most: 2 ** 32 - 1, integer: true, fallback: () => Math.floor(Math.random() * 2 ** 32) },
};

/** Fills in the defaults (llama.cpp's). Throws a `UsageError` that names an option that is out of its range. */
export function resolveSampling(options: SamplingOptions = {}): ResolvedSampling {
  const names = Object.keys(RANGES) as (keyof ResolvedSampling)[];
  const entries = names.map((name) => [name, resolve(name, options[name])] as const);
  return Object.fromEntries(entries) as unknown as ResolvedSampling;
}

function resolve(name: keyof ResolvedSampling, value: number | undefined): number {
  const { least, most, integer, fallback } = RANGES[name];
  if (value === undefined) return fallback();
  const right = typeof value === "number" && value >= least && value <= most;
  if (right && (!integer || Number.isInteger(value))) return value;
  const kind = integer ? "a whole number" : "a number";
  throw new UsageError(`${name} must be ${kind} from ${least} to ${most}, not ${String(value)}`);
}
