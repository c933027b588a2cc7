import { z } from "zod";
import { type Machine, MEASURED_SPEEDS, type Measurements } from "../plan/machine.ts";
import type { Environment } from "./cache-dir.ts";
import { loadRecord, type RecordFile, recordPath, saveRecord } from "./record.ts";

const measurementsSchema: z.ZodType<Measurements> = z.strictObject({
  ...MEASURED_SPEEDS,
  at: z.iso.datetime(),
});

/** The recipe changes when what is measured, or how, does. */
const MEASURED: RecordFile<Measurements> = { name: "measured", recipe: 1, schema: measurementsSchema };

/**
 * What was measured on this machine before, if anything: undefined where the file is missing, damaged or of another
 * version, and where there is no cache folder to trust.
 */
export function loadMeasurements(machine: Machine, env: Environment = process.env): Measurements | undefined {
  return loadRecord(MEASURED, machine, env).value;
}

/**
 * Keeps measurements for later processes on this machine; returns the file's path.
 *
 * @throws FileAccessError when the cache folder cannot be written
 * @throws MachineError when others could write to it
 */
export function saveMeasurements(
  machine: Machine,
  measured: Measurements,
  env: Environment = process.env,
): Promise<string> {
  return saveRecord(MEASURED, machine, measured, env);
}

/** Beside the compiled kernels. */
export function measurementsPath(machine: Machine, env: Environment = process.env): string {
  return recordPath(MEASURED, machine, env);
}
