import type { Machine } from "../plan/machine.ts";
import { type TunedShape, type Tuning, tuningSchema, withTuned } from "../plan/tuning.ts";
import type { Environment } from "./cache-dir.ts";
import { loadRecord, type RecordFile, recordPath, saveRecord } from "./record.ts";

/** The recipe changes when kernels do, so that what was the fastest may not be it any more. */
const TUNED: RecordFile<Tuning> = { name: "tuned", recipe: 2, schema: tuningSchema };

/** What was tuned on this machine before. */
export interface LoadedTuning {
  readonly tuning: Tuning;
  /** Why a file that is there is not used. */
  readonly problem?: string;
}

/** Empty where the file is missing or there is no cache folder to trust; a damaged one is not used, and is a problem. */
export function loadTuning(machine: Machine, env: Environment = process.env): LoadedTuning {
  const { value, problem } = loadRecord(TUNED, machine, env);
  if (problem === undefined) return { tuning: value ?? [] };
  const path = recordPath(TUNED, machine, env);
  return { tuning: [], problem: `the record of tuned blockings is damaged and not used: ${path}` };
}

/**
 * Adds what was tuned to what later processes on this machine find; returns the file's path.
 *
 * @throws FileAccessError when the cache folder cannot be written
 * @throws MachineError when others could write to it
 */
export function saveTuned(
  machine: Machine,
  entry: TunedShape,
  env: Environment = process.env,
): Promise<string> {
  return saveRecord(TUNED, machine, withTuned(loadTuning(machine, env).tuning, entry), env);
}

/** Beside the compiled kernels. */
export function tuningPath(machine: Machine, env: Environment = process.env): string {
  return recordPath(TUNED, machine, env);
}
