import { shortNames } from "./explain-model.ts";
import { LIMITS } from "./explain-projection.ts";
import type { ModelPlan, StepTime } from "./model-plan.ts";
import type { ProjectionPlan } from "./projection-plan.ts";
import { count, digits, secondsText, table } from "./text.ts";

/** A measured time of one matrix, and what it comes to in 10⁹ bytes of the format and 10⁹ operations a second. */
export interface MeasuredTime {
  readonly seconds: number;
  readonly gbs: number;
  readonly gops: number;
}

/** Measured times of a plan: `shapes` in its order. */
export interface MeasuredTimes {
  readonly shapes: readonly { readonly decode: MeasuredTime; readonly prefill?: MeasuredTime }[];
  readonly decode: StepTime;
  readonly prefill: StepTime;
}

/** What was predicted beside what was measured, per shape and in all, as text of at most 100 columns. */
export function explainMeasured(plan: ModelPlan, measured: MeasuredTimes): string {
  const head = ["one matrix", "tokens", "predicted", "measured", "ratio", "GB/s", "Gop/s", "limit"];
  const row = (name: string, { tokens, predicted }: ProjectionPlan, time: MeasuredTime) => [
    name,
    String(tokens),
    ...compared(predicted.seconds, time.seconds),
    digits(time.gbs),
    digits(time.gops),
    LIMITS[predicted.limit],
  ];
  const rows = plan.shapes.flatMap(({ names, weights }, i) => {
    const { decode, prefill } = measured.shapes[i] ?? {};
    const name = shortNames(names);
    return [
      ...(decode ? [row(name, weights.decode, decode)] : []),
      ...(prefill ? [row(name, weights.prefill, prefill)] : []),
    ];
  });
  const steps = [
    ["all projections", "tokens", "predicted", "measured", "ratio", "tokens/s predicted", "measured"],
    stepRow("decode", plan.decode, measured.decode),
    stepRow("prefill", plan.prefill, measured.prefill),
  ];
  const lines = [...table([head, ...rows], [1, 2, 3, 4, 5, 6]), "", ...table(steps, [1, 2, 3, 4, 5, 6])];
  return `${lines.join("\n")}\n`;
}

function stepRow(name: string, predicted: StepTime, measured: StepTime): string[] {
  return [
    `${name}, ${count(predicted.tokens, "token")}`,
    String(predicted.tokens),
    ...compared(predicted.seconds, measured.seconds),
    digits(predicted.tokensPerSecond),
    digits(measured.tokensPerSecond),
  ];
}

/** Both times, and the predicted one as a multiple of the measured one. */
function compared(predicted: number, measured: number): string[] {
  return [secondsText(predicted), secondsText(measured), (predicted / measured).toFixed(2)];
}
