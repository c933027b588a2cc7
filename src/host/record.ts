import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import type { Machine } from "../plan/machine.ts";
import { type Environment, openCacheDir } from "./cache-dir.ts";
import { machineKey } from "./machine-key.ts";
import { writeFileAtomically } from "./node-files.ts";

const MAX_FILE_BYTES = 1 << 20;

/** What is known about a machine from earlier processes: a small JSON file beside the compiled kernels. */
export interface RecordFile<T> {
  /** First part of the file's name. */
  readonly name: string;
  /** Part of every key: changes when what is recorded, or how it was found, does. */
  readonly recipe: number | string;
  readonly schema: z.ZodType<T>;
}

/** A record as read: nothing where there is none; `problem` says why one that is there is not used. */
export interface LoadedRecord<T> {
  readonly value?: T;
  readonly problem?: "damaged";
}

export function recordPath<T>({ name, recipe }: RecordFile<T>, machine: Machine, env: Environment): string {
  return join(openCacheDir(env).path, `${name}-${machineKey(machine, recipe)}.json`);
}

/** Nothing, too, where there is no cache folder to trust. */
export function loadRecord<T>(file: RecordFile<T>, machine: Machine, env: Environment): LoadedRecord<T> {
  let path: string;
  try {
    path = recordPath(file, machine, env);
    if (!existsSync(path)) return {};
  } catch {
    return {};
  }
  try {
    if (statSync(path).size > MAX_FILE_BYTES) return { problem: "damaged" };
    const { data } = file.schema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return data === undefined ? { problem: "damaged" } : { value: data };
  } catch {
    return { problem: "damaged" };
  }
}

/**
 * Keeps a value for later processes on this machine; returns the file's path.
 *
 * @throws FileAccessError when the cache folder cannot be written
 * @throws MachineError when others could write to it
 */
export async function saveRecord<T>(
  file: RecordFile<T>,
  machine: Machine,
  value: T,
  env: Environment,
): Promise<string> {
  const path = recordPath(file, machine, env);
  const json = `${JSON.stringify(value, null, 1)}\n`;
  await writeFileAtomically(path, (write) => write(new TextEncoder().encode(json)));
  return path;
}
