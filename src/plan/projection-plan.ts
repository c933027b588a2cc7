import { at } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { candidates, tilesOf } from "./candidates.ts";
import { describeMicro, type Micro, type Prediction, predictWith } from "./cost.ts";
import { registersOf } from "./instructions.ts";
import type { Machine } from "./machine.ts";
import type { RegisterUse } from "./register-allocation.ts";
import { type Loop, loopsOf, roundsOf } from "./rounds.ts";
import type { ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { type TunedShape, tunedFor } from "./tuning.ts";
import { type WorkingSet, workingSets } from "./working-set.ts";

/** How one projection is computed: the choice and what it was based on. */
export interface ProjectionPlan {
  readonly shape: ProjectionShape;
  readonly tokens: number;
  /** Name of the ISA. */
  readonly isa: string;
  readonly threads: number;
  /** What the prediction knew of the machine. */
  readonly speeds: Speeds;
  readonly blocking: Blocking;
  /** Loops of the kernel, outermost first, for the thread with the largest share. */
  readonly order: readonly Loop[];
  readonly workingSets: readonly WorkingSet[];
  readonly registers: RegisterUse;
  readonly predicted: Prediction;
}

export interface PlanOptions {
  readonly tokens: number;
  /** The packing's row tile in rows, where it is decided already. */
  readonly tu?: number;
  /** Default: those of the machine. */
  readonly threads?: number;
}

/** Predictions closer than this are equal: the model is not better. Of equal ones, the one with more room wins. */
export const MARGIN = 1.01;

/**
 * The blocking with the least predicted time; of nearly equal ones, one that fits the registers and the caches. What
 * does not fit has a price and is not forbidden: on AVX2, 8 tokens of one row vector store and reload some values of
 * every chunk, and take 10 to 30 % less time than the 2 tokens that fit.
 */
export function planProjection(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { tokens, tu, threads = machine.threads }: PlanOptions,
): ProjectionPlan {
  checkCounts({ rows: shape.rows, cols: shape.cols, tokens, threads });
  return planWith(speedsOf(machine, isa, threads), isa, shape, tokens, tu);
}

function checkCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(counts)) {
    if (!Number.isSafeInteger(n) || n < 1)
      throw new UsageError(`${name} must be a whole number ≥ 1, not ${n}`);
  }
}

function planWith(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  tokens: number,
  tu: number | undefined,
): ProjectionPlan {
  const scored = rank(speeds, isa, shape, tokens, tu);
  const [first] = scored;
  if (first === undefined) throw new UsageError(`${isa.name} has no row tiles of ${tu} rows`);
  const plans = scored
    .filter(({ predicted }) => predicted.seconds <= first.predicted.seconds * MARGIN)
    .map(({ blocking }) => planOf(speeds, isa, shape, tokens, blocking));
  return plans.reduce((a, b) => (compare(b, a) < 0 ? b : a));
}

/** A blocking, and how long it is predicted to take. */
export interface Scored {
  readonly blocking: Blocking;
  readonly predicted: Prediction;
}

/** All candidates, or those with row tiles of `tu` rows, fastest first as predicted. */
export function rank(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  tokens: number,
  tu?: number,
): Scored[] {
  const micros = new Map<string, Micro>();
  const microOf = (blocking: Blocking): Micro => {
    const key = `${blocking.mu} ${blocking.tu} ${blocking.nu}`;
    const micro = micros.get(key) ?? describeMicro(isa, shape, blocking);
    micros.set(key, micro);
    return micro;
  };
  return candidates(isa, shape, tokens, tu)
    .map((blocking) => ({
      blocking,
      predicted: predictWith(speeds, isa, shape, blocking, tokens, microOf(blocking)),
    }))
    .sort((a, b) => a.predicted.seconds - b.predicted.seconds);
}

/** The plan with a given blocking. */
function planOf(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  tokens: number,
  blocking: Blocking,
): ProjectionPlan {
  const micro = describeMicro(isa, shape, blocking);
  return {
    shape,
    tokens,
    isa: isa.name,
    threads: speeds.threads,
    speeds,
    blocking,
    order: loopsOf(shape, blocking, roundsOf(blocking, micro.pack, tokens, speeds.threads)),
    workingSets: workingSets(speeds, isa, shape, blocking, tokens),
    registers: registersOf(micro.regions),
    predicted: predictWith(speeds, isa, shape, blocking, tokens, micro),
  };
}

/** Fewer things that do not fit, then less code, then less time. */
function compare(a: ProjectionPlan, b: ProjectionPlan): number {
  return (
    misfits(a) - misfits(b) || a.blocking.mu - b.blocking.mu || a.predicted.seconds - b.predicted.seconds
  );
}

function misfits({ registers, workingSets }: ProjectionPlan): number {
  return (registers.stores > 0 ? 1 : 0) + workingSets.filter((set) => !set.fits).length;
}

/** One packing and the two plans that read it. */
export interface WeightsPlan {
  /** Row vectors of a packed tile: tu / lanes of both plans. */
  readonly tile: number;
  readonly decode: ProjectionPlan;
  readonly prefill: ProjectionPlan;
  /** Whether the blockings were timed on the machine, not predicted to be the best. */
  readonly tuned: boolean;
}

export interface WeightsOptions {
  /** Tokens of a decode step (sequences generated at once); 1. */
  readonly decodeTokens?: number;
  /** Tokens of a prefill step; 256. */
  readonly prefillTokens?: number;
  readonly threads?: number;
}

/**
 * Plans the packing of one matrix, and how steps of few and of many tokens read it: with the blockings that were timed on
 * the machine, if any. Else the tile is the one with the least time for a request that generates as many tokens as it
 * reads: prefill + prefillTokens / decodeTokens · decode.
 */
export function planWeights(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { decodeTokens = 1, prefillTokens = 256, threads = machine.threads }: WeightsOptions = {},
): WeightsPlan {
  checkCounts({ rows: shape.rows, cols: shape.cols, decodeTokens, prefillTokens, threads });
  const speeds = speedsOf(machine, isa, threads);
  const tuned = tunedFor(machine.tuned, isa.name, threads, shape);
  if (tuned !== undefined && isLegal(isa, shape, decodeTokens, prefillTokens, tuned)) {
    return {
      tile: tuned.decode.tu / isa.lanes,
      decode: planOf(speeds, isa, shape, decodeTokens, tuned.decode),
      prefill: planOf(speeds, isa, shape, prefillTokens, tuned.prefill),
      tuned: true,
    };
  }
  const plans = tilesOf(isa).map((tile): WeightsPlan => {
    const tu = tile * isa.lanes;
    return {
      tile,
      decode: planWith(speeds, isa, shape, decodeTokens, tu),
      prefill: planWith(speeds, isa, shape, prefillTokens, tu),
      tuned: false,
    };
  });
  const seconds = ({ decode, prefill }: WeightsPlan) =>
    prefill.predicted.seconds + (prefillTokens / decodeTokens) * decode.predicted.seconds;
  return plans.reduce((a, b) => (seconds(b) < seconds(a) ? b : a), at(plans, 0));
}

/** Whether blockings that come from outside are candidates, with one packing. */
function isLegal(
  isa: Isa,
  shape: ProjectionShape,
  decodeTokens: number,
  prefillTokens: number,
  { decode, prefill }: Pick<TunedShape, "decode" | "prefill">,
): boolean {
  const isCandidate = (tokens: number, b: Blocking) =>
    candidates(isa, shape, tokens, b.tu).some(
      (c) => c.mb === b.mb && c.tb === b.tb && c.mu === b.mu && c.nu === b.nu,
    );
  return decode.tu === prefill.tu && isCandidate(decodeTokens, decode) && isCandidate(prefillTokens, prefill);
}
