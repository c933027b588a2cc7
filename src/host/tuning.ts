import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "../plan/machine.ts";
import { type TunedShape, type Tuning, tuningSchema, withTuned } from "../plan/tuning.ts";
import { openCacheDir } from "./cache-dir.ts";
import { machineKey } from "./machine-key.ts";
import { writeFileAtomically } from "./node-files.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Part of every key: changes when kernels do, so that what was the fastest may not be it any more. */
const RECIPE = 2;
const MAX_FILE_BYTES = 1 << 20;

/** What was tuned on this machine before. */
export interface LoadedTuning {
  readonly tuning: Tuning;
  /** Why a file that is there is not used. */
  readonly problem?: string;
}

/** Empty where the file is missing or there is no cache folder to trust; a damaged one is not used, and is a problem. */
export function loadTuning(machine: Machine, env: Environment = process.env): LoadedTuning {
  let path: string;
  try {
    path = tuningPath(machine, env);
    if (!existsSync(path)) return { tuning: [] };
  } catch {
    return { tuning: [] };
  }
  const problem = `the record of tuned blockings is damaged and not used: ${path}`;
  try {
    if (statSync(path).size > MAX_FILE_BYTES) return { tuning: [], problem };
    const result = tuningSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return result.success ? { tuning: result.data } : { tuning: [], problem };
  } catch {
    return { tuning: [], problem };
  }
}

/**
 * Adds what was tuned to what later processes on this machine find; returns the file's path.
 *
 * @throws FileAccessError when the cache folder cannot be written
 * @throws MachineError when others could write to it
 */
export async function saveTuned(
  machine: Machine,
  entry: TunedShape,
  env: Environment = process.env,
): Promise<string> {
  const path = tuningPath(machine, env);
  const tuning = withTuned(loadTuning(machine, env).tuning, entry);
  const json = `${JSON.stringify(tuning, null, 1)}\n`;
  await writeFileAtomically(path, (write) => write(new TextEncoder().encode(json)));
  return path;
}

/** Beside the compiled kernels. */
export function tuningPath(machine: Machine, env: Environment = process.env): string {
  return join(openCacheDir(env).path, `tuned-${machineKey(machine, RECIPE)}.json`);
}
