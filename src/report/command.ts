import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { AbortedError, MachineError } from "../base/errors.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/qigen.js", import.meta.url));

/** Runs a command of `qigen` and gives what it prints as JSON. */
export type RunCommand = (args: readonly string[]) => Promise<unknown>;

/**
 * Commands in processes of their own, so that what one holds in memory is not counted for the next. Throws `MachineError`
 * with what a command said where it fails, `AbortedError` when the signal fires.
 */
export function commandRunner(signal: AbortSignal | undefined): RunCommand {
  return async (args) => {
    if (signal?.aborted) throw new AbortedError();
    const child = spawn(process.execPath, [PROGRAM, ...args, "--json"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const stop = () => child.kill("SIGTERM");
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const ended = new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", resolve);
      });
      const [out, said, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
      if (signal?.aborted) throw new AbortedError();
      if (code !== 0) throw new MachineError(`${args[0]}: ${complaint(said, code)}`);
      return JSON.parse(out) as unknown;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  };
}

/** The last line that a failed command said, without the program's name. */
function complaint(said: string, code: number | null): string {
  const last = said
    .trim()
    .split("\n")
    .at(-1)
    ?.trim()
    .replace(/^qigen: /, "");
  return last || (code === null ? "was killed" : `failed with exit code ${code}`);
}
