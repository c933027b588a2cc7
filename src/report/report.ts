import type { Estimate } from "../evaluation/statistics.ts";

/** Tokens per second: what was timed, and what the performance model predicts. */
export interface Speed {
  /** The median, the slowest and the fastest of the runs. */
  readonly measured: number;
  readonly slowest: number;
  readonly fastest: number;
  readonly predicted: number;
}

/** The share of a task's questions that was answered rightly. */
export interface TaskScore {
  readonly task: string;
  readonly accuracy: Estimate;
}

/** How a model's projections are quantized: `none` for the model as it is, `mixed` for bits of their own. */
export const METHODS = ["none", "rtn", "gptq", "mixed"] as const;

export type Method = (typeof METHODS)[number];

/** What a row is about. */
export interface RowSetting {
  /** For people: "3 bits, g32"; rows of the same setting differ in method. */
  readonly setting: string;
  readonly method: Method;
  /** Bits of a code; not there where modules differ. */
  readonly bits?: number | undefined;
  /** Inputs that share a scale, −1 for a whole row; not there where modules differ. */
  readonly groupSize?: number | undefined;
  /** Bits per weight that were asked for, where modules differ. */
  readonly budget?: number | undefined;
  /** The command that made the model; not there for the model as it is. */
  readonly command?: string | undefined;
}

/** A model in one setting, and what was measured of it. */
export interface ReportRow extends RowSetting {
  /** Bits per weight of the quantized projections, scales and zero points among them. */
  readonly bitsPerWeight: number;
  /** Bytes of the quantized projections as they lie in memory. */
  readonly projectionBytes: number;
  /** Bytes of all weights as they lie in memory. */
  readonly weightBytes: number;
  /** Resident bytes of a process that runs the model, at their most. */
  readonly peakBytes: number;
  readonly perplexity: Estimate;
  /** Perplexity over that of the model as it is; the error is that of paired differences. */
  readonly ratio: Estimate;
  /** Mean KL divergence from the model as it is, in nats. */
  readonly divergence: Estimate;
  /** Share of positions whose likeliest token is that of the model as it is. */
  readonly sameTop: number;
  readonly tasks: readonly TaskScore[];
  readonly prefill: Speed;
  readonly decode: Speed;
  /** What all this took, quantizing among it. */
  readonly seconds: number;
}

/** A setting that could not be made or measured. */
export interface FailedRow extends RowSetting {
  readonly reason: string;
}

/** Setting and method, for people. */
export function nameOf({ setting, method }: RowSetting): string {
  return method === "none" ? setting : `${setting}, ${method}`;
}

/** A sweep over settings of one model. */
export interface Report {
  readonly model: string;
  readonly created: string;
  readonly command: string;
  /** What it ran on, a line each: processor, ISA, threads, memory, limits. */
  readonly machine: readonly string[];
  /** How perplexity was computed: text, protocol, context, scored tokens. */
  readonly protocol: readonly string[];
  /** Parameters of the model, and those that are quantized. */
  readonly parameters: { readonly all: number; readonly quantized: number };
  /** Tokens whose probability counted. */
  readonly scored: number;
  /** Rows that the whole sweep has, the model as it is among them; those that are not there yet are to come. */
  readonly planned: number;
  /** Taken so far. */
  readonly seconds: number;
  /** The model as it is first. */
  readonly rows: readonly ReportRow[];
  readonly failures: readonly FailedRow[];
}

/** The row of the model as it is, and those of the settings. */
export function splitRows({ rows }: Report): { readonly full: ReportRow; readonly settings: ReportRow[] } {
  const [full, ...settings] = rows as [ReportRow, ...ReportRow[]];
  return { full, settings };
}

/**
 * The rows that no other beats: none has at most as much of `cost` and at most as much of `loss` and less of one.
 * In ascending order of cost.
 */
export function paretoFront<T>(rows: readonly T[], cost: (row: T) => number, loss: (row: T) => number): T[] {
  const sorted = rows.slice().sort((a, b) => cost(a) - cost(b) || loss(a) - loss(b));
  let best = Number.POSITIVE_INFINITY;
  return sorted.filter((row) => {
    if (loss(row) >= best) return false;
    best = loss(row);
    return true;
  });
}
