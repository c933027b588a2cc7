import { at } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { candidates, tilesOf } from "./candidates.ts";
import { type Prediction, predictWith } from "./cost.ts";
import type { Machine } from "./machine.ts";
import { type RegisterUse, registerUse } from "./registers.ts";
import type { ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { type WorkingSet, workingSets } from "./working-set.ts";

/** How one projection is computed: the choice and what it was based on. */
export interface ProjectionPlan {
  readonly shape: ProjectionShape;
  readonly tokens: number;
  readonly isa: string;
  readonly threads: number;
  readonly blocking: Blocking;
  readonly workingSets: readonly WorkingSet[];
  readonly registers: RegisterUse;
  readonly predicted: Prediction;
}

export interface PlanOptions {
  readonly tokens: number;
  /** The packing's row tile, where it is decided already. */
  readonly tu?: number;
  /** Default: those of the machine. */
  readonly threads?: number;
}

/** The blocking with the least predicted time among those that fit registers and caches. */
export function planProjection(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { tokens, tu, threads = machine.threads }: PlanOptions,
): ProjectionPlan {
  const speeds = speedsOf(machine, isa, threads);
  const legal = candidates(isa, shape, tokens).filter((b) => tu === undefined || b.tu === tu);
  return best(legal.map((blocking) => describe(speeds, isa, shape, blocking, tokens, threads)));
}

function describe(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  threads: number,
): ProjectionPlan {
  return {
    shape,
    tokens,
    isa: isa.name,
    threads,
    blocking,
    workingSets: workingSets(speeds, isa, shape, blocking, tokens),
    registers: registerUse(isa, shape, blocking),
    predicted: predictWith(speeds, isa, shape, blocking, tokens, threads),
  };
}

function best(plans: readonly ProjectionPlan[]): ProjectionPlan {
  const inRegisters = keepLeast(plans, ({ registers: r }) => Math.max(0, r.total - r.available));
  const inCaches = keepLeast(inRegisters, (p) => p.workingSets.filter((s) => !s.fits).length);
  return inCaches.reduce((a, b) => (b.predicted.seconds < a.predicted.seconds ? b : a), at(inCaches, 0));
}

function keepLeast<T>(list: readonly T[], of: (item: T) => number): T[] {
  const least = Math.min(...list.map(of));
  return list.filter((item) => of(item) === least);
}

/** One packing and the two plans that read it. */
export interface WeightsPlan {
  /** Row vectors of a tile. */
  readonly tile: number;
  readonly decode: ProjectionPlan;
  readonly prefill: ProjectionPlan;
}

export interface WeightsOptions {
  readonly decodeTokens?: number;
  readonly prefillTokens?: number;
  readonly threads?: number;
}

/** The tile with the least time for a request that generates as many tokens as it reads. */
export function planWeights(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  { decodeTokens = 1, prefillTokens = 256, threads = machine.threads }: WeightsOptions = {},
): WeightsPlan {
  const plans = tilesOf(isa).map((tile): WeightsPlan => {
    const tu = tile * isa.lanes;
    return {
      tile,
      decode: planProjection(machine, isa, shape, { tokens: decodeTokens, tu, threads }),
      prefill: planProjection(machine, isa, shape, { tokens: prefillTokens, tu, threads }),
    };
  });
  const seconds = ({ decode, prefill }: WeightsPlan) =>
    prefill.predicted.seconds + (prefillTokens / decodeTokens) * decode.predicted.seconds;
  return plans.reduce((a, b) => (seconds(b) < seconds(a) ? b : a), at(plans, 0));
}
