import { at } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import { type Blocking, sameBlocking } from "../kernels/blocking.ts";
import { tilesOf } from "../plan/candidates.ts";
import type { Machine } from "../plan/machine.ts";
import type { ShapePlan } from "../plan/model-plan.ts";
import { type Load, rank, requestOf } from "../plan/projection-plan.ts";
import { shapeKey } from "../plan/shape.ts";
import { speedsOf } from "../plan/speeds.ts";
import type { TunedShape } from "../plan/tuning.ts";
import type { MeasurePlanOptions } from "./measure-plan.ts";
import { ProjectionTimer } from "./time-projection.ts";

/** A winner is one by more than this; else the plan stays. */
const NOISE = 1.02;

/** What tuning a shape found: what to keep, and times in seconds of one matrix before and after. */
export interface TuneResult {
  readonly entry: TunedShape;
  readonly decode: Gain;
  /** Absent where no prefill step passes the shape. */
  readonly prefill?: Gain;
}

export interface Gain {
  /** With the blocking of the plan. */
  readonly planned: number;
  readonly tuned: number;
}

/** Of each row tile, so many micro-GEMVs are timed, with the blocks that suit them best … */
const MICROS = 4;
/** … unless they are predicted to take this much longer than the best of all. */
const HOPELESS = 1.4;

/**
 * Times the blockings of a shape that are predicted to be the best, and the planned one, in turns. The winner is the one
 * with the least time for a request that generates as many tokens as it reads, as for plans (`planWeights`).
 *
 * @throws MachineError when kernels do not compile or memory is short
 * @throws AbortedError when the signal fires
 */
export async function tuneShape(
  machine: Machine,
  plan: ShapePlan,
  { open, isa, effort, onPass, signal }: MeasurePlanOptions,
): Promise<TuneResult> {
  const { shape, weights, prefillCount } = plan;
  const { threads } = weights.decode;
  const request = requestOf(weights.decode.tokens, weights.prefill.tokens);
  const loads = prefillCount > 0 ? request : request.slice(1);
  const blockings = contenders(machine, isa, plan, request);
  const cases = blockings.flatMap((blocking) => loads.map(({ tokens }) => ({ shape, tokens, blocking })));
  const timer = await ProjectionTimer.create({ open, isa, threads, cases, effort, signal });
  try {
    const timings = await timer.time(cases, onPass);
    const timed = blockings.map((_, i) => loads.map((_, k) => at(timings, i * loads.length + k).seconds));
    const winner = fastest(timed, loads);
    const gains = loads.map((_, k) => ({ planned: at(at(timed, 0), k), tuned: at(at(timed, winner), k) }));
    return {
      entry: { isa: isa.name, threads, shape: shapeKey(shape), blocking: at(blockings, winner) },
      decode: at(gains, gains.length - 1),
      ...(prefillCount > 0 ? { prefill: at(gains, 0) } : {}),
    };
  } finally {
    await timer.dispose();
  }
}

/** The planned blocking, then for each row tile the best ones of some micro-GEMVs. */
function contenders(
  machine: Machine,
  isa: Isa,
  { shape, weights }: ShapePlan,
  loads: readonly Load[],
): Blocking[] {
  const scored = rank(speedsOf(machine, isa, weights.decode.threads), isa, shape, loads);
  const limit = HOPELESS * at(scored, 0).seconds;
  const found = tilesOf(isa, shape.format).flatMap((tile) => {
    const micros = new Map<string, Blocking>();
    for (const { blocking: b, seconds } of scored) {
      const key = `${b.mu} ${b.nu} ${b.expand}`;
      const isNew = b.tu === tile * isa.lanes && !micros.has(key);
      if (isNew && micros.size < MICROS && (seconds <= limit || micros.size === 0)) {
        micros.set(key, b);
      }
    }
    return [...micros.values()];
  });
  const planned = weights.blocking;
  return [planned, ...found.filter((b) => !sameBlocking(b, planned))];
}

/** Which of the blockings, given their times for each load, has the least for all; the first unless that is clear. */
function fastest(timed: readonly (readonly number[])[], loads: readonly Load[]): number {
  const totals = timed.map((times) => times.reduce((sum, s, k) => sum + at(loads, k).times * s, 0));
  const best = totals.indexOf(Math.min(...totals));
  return at(totals, best) * NOISE < at(totals, 0) ? best : 0;
}
