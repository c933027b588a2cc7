import type { Machine } from "../plan/machine.ts";
import { loadMeasurements } from "./measurements.ts";
import { probeMachine } from "./probe.ts";
import { nodeSources, type ProbeSources } from "./sources.ts";

/** This machine: what the probe finds, with the speeds that were measured here before, if any. Measures nothing. */
export async function describeMachine(
  env: Readonly<Record<string, string | undefined>> = process.env,
  sources: ProbeSources = nodeSources(),
): Promise<Machine> {
  const machine = probeMachine(sources);
  const measured = loadMeasurements(machine, env);
  return measured === undefined ? machine : { ...machine, measured };
}
