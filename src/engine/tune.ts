import { at } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { tilesOf } from "../plan/candidates.ts";
import type { Machine } from "../plan/machine.ts";
import type { ShapePlan } from "../plan/model-plan.ts";
import { type ProjectionPlan, rank } from "../plan/projection-plan.ts";
import { shapeKey } from "../plan/shape.ts";
import { speedsOf } from "../plan/speeds.ts";
import type { TunedShape } from "../plan/tuning.ts";
import type { MeasurePlanOptions } from "./measure-plan.ts";
import { type ProjectionCase, ProjectionTimer } from "./time-projection.ts";

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
 * Times the blockings of a shape that are predicted to be the best, and the planned one, in turns. The winner is the
 * pair with the least time for a request that generates as many tokens as it reads, as for plans (`planWeights`).
 *
 * @throws MachineError when kernels do not compile or memory is short
 * @throws AbortedError when the signal fires
 */
export async function tuneShape(
  machine: Machine,
  plan: ShapePlan,
  { open, isa, effort, onPass, signal }: MeasurePlanOptions,
): Promise<TuneResult> {
  const { decode, prefill } = plan.weights;
  const decodes = contenders(machine, isa, decode);
  const prefills = contenders(machine, isa, prefill);
  const timePrefill = plan.prefillCount > 0;
  const cases = [...decodes, ...(timePrefill ? prefills : [])];
  const timer = await ProjectionTimer.create({ open, isa, threads: decode.threads, cases, effort, signal });
  try {
    const timings = await timer.time(cases, onPass);
    const seconds = (c: ProjectionCase) => {
      const i = cases.indexOf(c);
      return i < 0 ? 0 : at(timings, i).seconds;
    };
    const winner = bestPair(isa, decodes, prefills, seconds, prefill.tokens / decode.tokens);
    const gain = (of: readonly ProjectionCase[], won: ProjectionCase) => ({
      planned: seconds(at(of, 0)),
      tuned: seconds(won),
    });
    return {
      entry: {
        isa: isa.name,
        threads: decode.threads,
        shape: shapeKey(plan.shape),
        decode: winner.decode.blocking,
        prefill: winner.prefill.blocking,
      },
      decode: gain(decodes, winner.decode),
      ...(timePrefill ? { prefill: gain(prefills, winner.prefill) } : {}),
    };
  } finally {
    await timer.dispose();
  }
}

/** The planned blocking, then for each row tile the best ones of some micro-GEMVs. */
function contenders(machine: Machine, isa: Isa, planned: ProjectionPlan): ProjectionCase[] {
  const { shape, tokens, threads, blocking } = planned;
  const scored = rank(speedsOf(machine, isa, threads), isa, shape, tokens);
  const limit = HOPELESS * at(scored, 0).predicted.seconds;
  const found = tilesOf(isa).flatMap((tile) => {
    const micros = new Map<string, Blocking>();
    for (const { blocking: b, predicted } of scored) {
      const isNew = b.tu === tile * isa.lanes && !micros.has(`${b.mu} ${b.nu}`);
      if (isNew && micros.size < MICROS && (predicted.seconds <= limit || micros.size === 0)) {
        micros.set(`${b.mu} ${b.nu}`, b);
      }
    }
    return [...micros.values()];
  });
  const others = found.filter((b) => JSON.stringify(order(b)) !== JSON.stringify(order(blocking)));
  return [blocking, ...others].map((b) => ({ shape, tokens, blocking: b }));
}

const order = ({ mb, tb, mu, tu, nu }: Blocking) => [mb, tb, mu, tu, nu];

interface Pair {
  readonly decode: ProjectionCase;
  readonly prefill: ProjectionCase;
}

function bestPair(
  isa: Isa,
  decodes: readonly ProjectionCase[],
  prefills: readonly ProjectionCase[],
  seconds: (c: ProjectionCase) => number,
  decodesPerPrefill: number,
): Pair {
  const fastest = (cases: readonly ProjectionCase[], tu: number) =>
    cases.filter(({ blocking }) => blocking.tu === tu).reduce((a, b) => (seconds(b) < seconds(a) ? b : a));
  const pairs = tilesOf(isa).map((tile): Pair => {
    const tu = tile * isa.lanes;
    return { decode: fastest(decodes, tu), prefill: fastest(prefills, tu) };
  });
  const total = ({ decode, prefill }: Pair) => seconds(prefill) + decodesPerPrefill * seconds(decode);
  const best = pairs.reduce((a, b) => (total(b) < total(a) ? b : a));
  const planned = { decode: at(decodes, 0), prefill: at(prefills, 0) };
  return total(best) * NOISE < total(planned) ? best : planned;
}
