import type { Machine } from "../plan/machine.ts";
import { type Tuning, tuningSchema, withTuned } from "../plan/tuning.ts";
import type { Environment } from "./cache-dir.ts";
import { generatorVersion } from "./generator-version.ts";
import { loadRecord, type RecordFile, saveRecord } from "./record.ts";

/*
 * The blockings that the performance model chose, for later processes: they follow from the machine with its
 * measurements, the shape, and the code that generates and plans. So the key has all of that.
 */

/** Plans kept, at most: the newest. */
const MOST = 1024;

/** The blockings that were chosen on this machine before; empty where none can be trusted. */
export function loadPlans(machine: Machine, env: Environment = process.env): Tuning {
  const file = plansOf(machine);
  return (file && loadRecord(file, machine, env).value) ?? [];
}

/** Keeps blockings for later processes. Where that cannot be, they plan again. */
export async function savePlans(
  machine: Machine,
  plans: Tuning,
  env: Environment = process.env,
): Promise<void> {
  const file = plansOf(machine);
  if (file === undefined) return;
  const all = plans.reduce(withTuned, loadPlans(machine, env));
  await saveRecord(file, machine, all.slice(-MOST), env).catch(() => undefined);
}

function plansOf({ measured }: Machine): RecordFile<Tuning> | undefined {
  const code = generatorVersion();
  if (code === undefined) return undefined;
  return { name: "planned", recipe: JSON.stringify([code, measured]), schema: tuningSchema };
}
