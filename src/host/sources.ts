import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";

/** Everything the probe reads, passed in so that recorded machines can be probed too. */
export interface ProbeSources {
  /** As `process.platform`. */
  readonly platform: string;
  /** As `process.arch`. */
  readonly arch: string;
  /** A whole text file; undefined when it is missing or may not be read. */
  readFile(path: string): string | undefined;
  readBytes(path: string): Uint8Array | undefined;
  /** Names in a folder; empty when it is missing. */
  listDir(path: string): readonly string[];
  /** Standard output of a command; undefined when it is missing, fails or takes longer than two seconds. */
  exec(file: string, args: readonly string[]): string | undefined;
  /** Model name of each logical CPU. */
  osCpus(): readonly string[];
  osMemoryBytes(): number;
  /** Logical CPUs this process may run on, as far as the JavaScript engine knows. */
  osParallelism(): number;
}

/** This machine. */
export function nodeSources(): ProbeSources {
  return {
    platform: process.platform,
    arch: process.arch,
    readFile: (path) => attempt(() => readFileSync(path, "utf8")),
    readBytes: (path) => attempt(() => readFileSync(path)),
    listDir: (path) => attempt(() => readdirSync(path)) ?? [],
    exec: (file, args) =>
      attempt(() =>
        execFileSync(file, args, {
          encoding: "utf8",
          timeout: 2000,
          stdio: ["ignore", "pipe", "ignore"],
          windowsHide: true,
        }),
      ),
    osCpus: () => cpus().map((cpu) => cpu.model),
    osMemoryBytes: totalmem,
    osParallelism: availableParallelism,
  };
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
