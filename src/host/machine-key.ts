import { createHash } from "node:crypto";
import type { Machine } from "../plan/machine.ts";

/**
 * Names what was timed on a machine by what the times depend on: the CPU, its caches, the threads, the pages, and
 * `recipe`, which changes when what is timed, or how, does.
 */
export function machineKey(machine: Machine, recipe: number | string): string {
  const { name, architecture, features, caches, physicalCores, threads, hugePages } = machine;
  const identity = [
    recipe,
    name,
    architecture,
    [...features].sort(),
    caches,
    physicalCores,
    threads,
    hugePages,
  ];
  const key = createHash("sha256").update(JSON.stringify(identity)).digest("hex");
  return key.slice(0, 32);
}
