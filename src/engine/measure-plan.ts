import { at } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import { type ModelPlan, type ShapePlan, type StepTime, stepTimes } from "../plan/model-plan.ts";
import type { ProjectionPlan } from "../plan/projection-plan.ts";
import type { Effort } from "./stopwatch.ts";
import {
  type OnPass,
  type ProjectionCase,
  ProjectionTimer,
  type ProjectionTiming,
  type TimerRequest,
} from "./time-projection.ts";

/** How long the matrices of a shape take; `prefill` where a prefill step has them. */
export interface MeasuredShape {
  readonly decode: ProjectionTiming;
  readonly prefill?: ProjectionTiming;
}

/** What a plan predicted, timed: one matrix of each shape, in the order of the plan, and what they add up to. */
export interface MeasuredPlan {
  readonly shapes: readonly MeasuredShape[];
  readonly decode: StepTime;
  readonly prefill: StepTime;
}

export interface MeasurePlanOptions {
  readonly open: TimerRequest["open"];
  readonly isa: Isa;
  readonly effort?: Effort | undefined;
  readonly onPass?: OnPass | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Times every distinct shape of a model plan, decode and prefill, with random weights that no cache holds. Projections
 * only, as the plan.
 *
 * @throws MachineError when kernels do not compile or memory is short
 * @throws AbortedError when the signal fires
 */
export async function measurePlan(plan: ModelPlan, options: MeasurePlanOptions): Promise<MeasuredPlan> {
  const { open, isa, effort, onPass, signal } = options;
  const decodes = plan.shapes.map(({ weights }) => caseOf(weights.decode));
  const inPrefill = plan.shapes.filter(({ prefillCount }) => prefillCount > 0);
  const prefills = inPrefill.map(({ weights }) => caseOf(weights.prefill));
  const cases = [...decodes, ...prefills];
  const timer = await ProjectionTimer.create({ open, isa, threads: plan.threads, cases, effort, signal });
  try {
    const timings = await timer.time(cases, onPass);
    const timed = new Map<ShapePlan, MeasuredShape>();
    plan.shapes.forEach((shape, i) => timed.set(shape, { decode: at(timings, i) }));
    inPrefill.forEach((shape, i) =>
      timed.set(shape, { ...(timed.get(shape) as MeasuredShape), prefill: at(timings, decodes.length + i) }),
    );
    const measured = (shape: ShapePlan) => timed.get(shape) as MeasuredShape;
    const bytes = ({ weights }: ShapePlan) => weights.decode.predicted.bytes;
    return {
      shapes: plan.shapes.map(measured),
      ...stepTimes(
        plan.shapes,
        { decode: plan.decode.tokens, prefill: plan.prefill.tokens },
        (s) => ({ seconds: measured(s).decode.seconds, bytes: bytes(s) }),
        (s) => ({ seconds: measured(s).prefill?.seconds ?? 0, bytes: bytes(s) }),
      ),
    };
  } finally {
    await timer.dispose();
  }
}

function caseOf({ shape, blocking, tokens }: ProjectionPlan): ProjectionCase {
  return { shape, blocking, tokens };
}
