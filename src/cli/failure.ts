import { CommanderError } from "commander";
import { AbortedError, InternalError, QigenError, UsageError } from "../base/errors.ts";
import type { Io } from "./io.ts";

const OK = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** Exit code 1, where the output has said all there is to say. */
export class SilentFailure extends Error {}

/** Tells the user what went wrong, as far as that is news to them; returns the exit code. */
export function reportFailure(error: unknown, io: Io): number {
  const { interrupts } = io;
  if (error instanceof SilentFailure) return FAILED;
  if (error instanceof CommanderError) return error.exitCode === 0 ? OK : WRONG_USAGE;
  if (error instanceof AbortedError && interrupts.signal.aborted) return interrupts.exitCode;
  if (error instanceof QigenError && !(error instanceof InternalError)) {
    io.stderr.write(`qigen: ${error.message}\n`);
    return error instanceof UsageError ? WRONG_USAGE : FAILED;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  io.stderr.write(
    `qigen: ${text}\n\nThis is a bug in qigen. Please report it with the lines above, the command you ran and the ` +
      "output of `qigen doctor`.\n",
  );
  return FAILED;
}
