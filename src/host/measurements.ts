import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Machine, Measurements } from "../plan/machine.ts";
import { openCacheDir } from "./cache-dir.ts";
import { machineKey } from "./machine-key.ts";
import { writeFileAtomically } from "./node-files.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Part of every key: changes when what is measured, or how, does. */
const RECIPE = 1;
const MAX_FILE_BYTES = 1 << 20;

const text = z.string().min(1).max(256);
const threads = z.int().min(1).max(65536);
const speed = z.number().positive().max(1e9);

const measurementsSchema: z.ZodType<Measurements> = z.strictObject({
  readGBs: z
    .array(z.strictObject({ threads, hugePages: z.boolean(), gbs: speed, maxGbs: speed.exactOptional() }))
    .max(1024),
  int8Gops: z.array(z.strictObject({ isa: text, threads, gops: speed })).max(1024),
  f32Gflops: z.array(z.strictObject({ isa: text, threads, gflops: speed })).max(1024),
  at: z.iso.datetime(),
});

/**
 * What was measured on this machine before, if anything: undefined where the file is missing, damaged or of another
 * version, and where there is no cache folder to trust.
 */
export function loadMeasurements(machine: Machine, env: Environment = process.env): Measurements | undefined {
  try {
    const path = measurementsPath(machine, env);
    if (statSync(path).size > MAX_FILE_BYTES) return undefined;
    return measurementsSchema.safeParse(JSON.parse(readFileSync(path, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/**
 * Keeps measurements for later processes on this machine; returns the file's path.
 *
 * @throws FileAccessError when the cache folder cannot be written
 * @throws MachineError when others could write to it
 */
export async function saveMeasurements(
  machine: Machine,
  measured: Measurements,
  env: Environment = process.env,
): Promise<string> {
  const path = measurementsPath(machine, env);
  const json = `${JSON.stringify(measured, null, 2)}\n`;
  await writeFileAtomically(path, (write) => write(new TextEncoder().encode(json)));
  return path;
}

/** Beside the compiled kernels. */
export function measurementsPath(machine: Machine, env: Environment = process.env): string {
  return join(openCacheDir(env).path, `measured-${machineKey(machine, RECIPE)}.json`);
}
