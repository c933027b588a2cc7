import { at } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import type { Isa } from "../isa/isa.ts";
import { type Blocking, sameBlocking, tokenSteps } from "../kernels/blocking.ts";
import { candidates } from "./candidates.ts";
import { describeMicro, type Micro, type Prediction, predictWith } from "./cost.ts";
import { instructionsOf, type Region, registersOf } from "./instructions.ts";
import type { Machine } from "./machine.ts";
import type { RegisterUse } from "./register-allocation.ts";
import { type Loop, loopsOf, roundsOf } from "./rounds.ts";
import type { ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { type Tuning, tunedFor } from "./tuning.ts";
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
  const speeds = speedsOf(machine, isa, threads);
  return planOf(speeds, isa, shape, tokens, choose(speeds, isa, shape, [{ tokens, times: 1 }], tu));
}

function checkCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(counts)) {
    if (!Number.isSafeInteger(n) || n < 1)
      throw new UsageError(`${name} must be a whole number ≥ 1, not ${n}`);
  }
}

/** What a projection is to do: so many times so many tokens at once. */
export interface Load {
  readonly tokens: number;
  readonly times: number;
}

/** A blocking, and how long it is predicted to take: for each load once, and for all of them. */
export interface Scored {
  readonly blocking: Blocking;
  readonly predicted: readonly Prediction[];
  readonly seconds: number;
}

/** The blocking with the least time for all loads; of those that are nearly as good in each, the one with more room. */
function choose(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  loads: readonly [Load, ...Load[]],
  tu?: number,
): Blocking {
  const scored = rank(speeds, isa, shape, loads, tu);
  if (scored.length === 0) throw new UsageError(`${isa.name} has no row tiles of ${tu} rows`);
  const misfits = (blocking: Blocking): number => {
    const { tokens } = loads[0];
    const registers = registersOf(microOf(isa, shape, blocking, tokens));
    const sets = workingSets(speeds, isa, shape, blocking, tokens);
    return (registers.stores > 0 ? 1 : 0) + sets.filter((set) => !set.fits).length;
  };
  const equals = nearlyBest(scored).map(({ blocking }) => ({ blocking, misfits: misfits(blocking) }));
  return equals.reduce((a, b) => (b.misfits < a.misfits ? b : a)).blocking;
}

/**
 * Those that are nearly as good as the first in each load, and nearly as good as the best of these in each: else one that
 * is slower in one load than the first would beat one that is faster. The first alone where there are none.
 */
function nearlyBest(scored: readonly Scored[]): readonly Scored[] {
  const within = (limits: readonly number[]) => (s: Scored) =>
    s.predicted.every(({ seconds }, i) => seconds <= at(limits, i) * MARGIN);
  const times = ({ predicted }: Scored) => predicted.map(({ seconds }) => seconds);
  const near = scored.filter(within(times(at(scored, 0))));
  const least = near.map(times).reduce((a, b) => a.map((seconds, i) => Math.min(seconds, at(b, i))));
  const best = near.filter(within(least));
  return best.length > 0 ? best : scored.slice(0, 1);
}

/** All candidates, or those with row tiles of `tu` rows, fastest first as predicted. */
export function rank(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  loads: readonly Load[],
  tu?: number,
): Scored[] {
  const tokens = Math.max(...loads.map((load) => load.tokens));
  const micros = new Map<number, Micro>();
  return candidates(isa, shape, tokens, tu)
    .map((blocking): Scored => {
      const micro = micros.get(blocking.tu) ?? describeMicro(speeds, isa, shape, blocking);
      micros.set(blocking.tu, micro);
      const predicted = loads.map((load) => predictWith(speeds, shape, blocking, load.tokens, micro));
      const seconds = predicted.reduce((sum, p, i) => sum + at(loads, i).times * p.seconds, 0);
      return { blocking, predicted, seconds };
    })
    .sort((a, b) => a.seconds - b.seconds);
}

/** The micro-GEMV that most tokens pass. */
function microOf(isa: Isa, shape: ProjectionShape, blocking: Blocking, tokens: number): readonly Region[] {
  const { size, expanded } = at(tokenSteps(blocking, tokens), 0);
  return instructionsOf(isa, shape, { ...blocking, nu: size }, expanded ? "expanded" : "packed");
}

/** The plan with a given blocking. */
function planOf(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  tokens: number,
  blocking: Blocking,
): ProjectionPlan {
  const micro = describeMicro(speeds, isa, shape, blocking);
  const rounds = roundsOf(blocking, micro.pack, tokens, speeds.threads);
  return {
    shape,
    tokens,
    isa: isa.name,
    threads: speeds.threads,
    speeds,
    blocking,
    order: loopsOf(shape, blocking, rounds),
    workingSets: workingSets(speeds, isa, shape, blocking, tokens),
    registers: registersOf(microOf(isa, shape, blocking, tokens)),
    predicted: predictWith(speeds, shape, blocking, tokens, micro),
  };
}

/** How a matrix is packed and read: as timed on the machine, if it was; else with the least predicted time. */
interface Choice {
  readonly blocking: Blocking;
  /** Whether the blocking was timed on the machine, not predicted to be the best. */
  readonly tuned: boolean;
}

/** One packing, one kernel that reads it for any number of tokens, and what it is predicted to take. */
export interface WeightsPlan extends Choice {
  /** Row vectors of a packed tile: tu / lanes. */
  readonly tile: number;
  readonly decode: ProjectionPlan;
  readonly prefill: ProjectionPlan;
}

export interface WeightsOptions {
  /** Tokens of a decode step (sequences generated at once); 1. */
  readonly decodeTokens?: number;
  /** Tokens of a prefill step; 256. */
  readonly prefillTokens?: number;
  readonly threads?: number;
}

function chooseFor(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { decodeTokens, prefillTokens, threads }: Required<WeightsOptions>,
  remembered?: Tuning,
): Choice {
  checkCounts({ rows: shape.rows, cols: shape.cols, decodeTokens, prefillTokens, threads });
  const legal = (tuning: Tuning | undefined): Blocking | undefined => {
    const known = tunedFor(tuning, isa.name, threads, shape)?.blocking;
    return known && isLegal(isa, shape, prefillTokens, known) ? known : undefined;
  };
  const tuned = legal(machine.tuned);
  if (tuned !== undefined) return { blocking: tuned, tuned: true };
  const speeds = speedsOf(machine, isa, threads);
  const blocking = legal(remembered) ?? choose(speeds, isa, shape, requestOf(decodeTokens, prefillTokens));
  return { blocking, tuned: false };
}

/** The blocking of `planWeights` alone; `remembered` are those that were chosen for the same before. */
export function chooseBlocking(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { decodeTokens = 1, prefillTokens = 256, threads = machine.threads }: WeightsOptions = {},
  remembered?: Tuning,
): Blocking {
  return chooseFor(machine, isa, shape, { decodeTokens, prefillTokens, threads }, remembered).blocking;
}

/**
 * Plans the packing of one matrix and the kernel that reads it: as timed on the machine, if it was. Else the blocking is
 * the one with the least time for a request that generates as many tokens as it reads.
 */
export function planWeights(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { decodeTokens = 1, prefillTokens = 256, threads = machine.threads }: WeightsOptions = {},
): WeightsPlan {
  const { blocking, tuned } = chooseFor(machine, isa, shape, { decodeTokens, prefillTokens, threads });
  const speeds = speedsOf(machine, isa, threads);
  return {
    tile: blocking.tu / isa.lanes,
    blocking,
    decode: planOf(speeds, isa, shape, decodeTokens, blocking),
    prefill: planOf(speeds, isa, shape, prefillTokens, blocking),
    tuned,
  };
}

/** A request that generates as many tokens as it reads. */
export function requestOf(decodeTokens: number, prefillTokens: number): [prefill: Load, decode: Load] {
  return [
    { tokens: prefillTokens, times: 1 },
    { tokens: decodeTokens, times: prefillTokens / decodeTokens },
  ];
}

/** Whether a blocking that comes from outside is a candidate. */
function isLegal(isa: Isa, shape: ProjectionShape, tokens: number, b: Blocking): boolean {
  return candidates(isa, shape, tokens, b.tu).some((c) => sameBlocking(c, b));
}
