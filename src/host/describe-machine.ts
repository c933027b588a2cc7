import type { Machine } from "../plan/machine.ts";
import { loadMeasurements } from "./measurements.ts";
import { probeMachine } from "./probe.ts";
import { nodeSources, type ProbeSources } from "./sources.ts";
import { loadTuning } from "./tuning.ts";

/**
 * This machine: what the probe finds, with the speeds that were measured and the blockings that were tuned here before,
 * if any. Measures nothing.
 */
export async function describeMachine(
  env: Readonly<Record<string, string | undefined>> = process.env,
  sources: ProbeSources = nodeSources(),
): Promise<Machine> {
  const machine = probeMachine(sources);
  const measured = loadMeasurements(machine, env);
  const { tuning, problem } = loadTuning(machine, env);
  return {
    ...machine,
    ...(measured === undefined ? {} : { measured }),
    ...(tuning.length === 0 ? {} : { tuned: tuning }),
    assumptions: [...machine.assumptions, ...(problem === undefined ? [] : [problem])],
  };
}
