import { UsageError } from "../base/errors.ts";
import type { Machine } from "../plan/machine.ts";
import type { Report } from "./report.ts";
import { shownPath } from "./shown-path.ts";
import type { Sweep } from "./sweep.ts";

/** On what rows were measured, and with what: for people. */
export type Conditions = Pick<Report, "model" | "machine" | "protocol">;

/** `scored`: tokens whose probability counted. */
export function conditionsOf(sweep: Sweep, machine: Machine, scored: number): Conditions {
  return {
    model: sweep.name,
    machine: machineLines(sweep, machine),
    protocol: protocolLines(sweep, scored),
  };
}

/** Throws `UsageError` for a report whose rows have no place beside those that are measured now. */
export function requireSame(known: Report, now: Conditions): void {
  for (const name of ["model", "machine", "protocol"] as const) {
    if (JSON.stringify(known[name]) === JSON.stringify(now[name])) continue;
    throw new UsageError(
      `the report that is there is of another sweep (its ${name} differs): take the same flags, or another --out`,
    );
  }
}

function machineLines({ repeat, promptTokens, genTokens }: Sweep, machine: Machine): string[] {
  const threads = `${machine.threads} thread${machine.threads === 1 ? "" : "s"}`;
  return [
    `Machine: ${machine.name}, ${threads}.`,
    `Speed: medians of ${repeat} runs with random tokens, prefill of ${promptTokens} and decode of ${genTokens}, in a ` +
      "process of its own, whose peak memory it is. Predictions are of the projections alone.",
  ];
}

function protocolLines(sweep: Sweep, scored: number): string[] {
  const { textFile, context, bos, calibration, samples, tasks } = sweep;
  const led = bos ? ", each led by the start token" : "";
  return [
    `Perplexity: ${shownPath(textFile)}, windows of ${context} tokens side by side${led}; ${scored} tokens count. ` +
      "Beside the predictions of the model as it is with f32 activations and cache, on the same tokens: quantized models " +
      "have int8 activations and an f16 cache.",
    ...(calibration === undefined
      ? []
      : [`Calibration: ${samples} samples of ${context} tokens of ${shownPath(calibration)}.`]),
    ...[...tasks].map(
      ([name, { items, kind }]) =>
        `Task ${name}: ${items.length} items, ${kind === "choice" ? "the likeliest ending" : "the last word"}.`,
    ),
    "± is a standard error.",
  ];
}
