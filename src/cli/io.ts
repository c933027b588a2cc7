import type { Readable, Writable } from "node:stream";
import { AbortedError } from "../base/errors.ts";
import { printable } from "./format.ts";

/** Where a command writes; a terminal knows its width. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };
export type Input = Readable & { readonly isTTY?: boolean };

/** What a command talks to: the process's own streams, or a test's. */
export interface Io {
  readonly stdin: Input;
  /** Results only. */
  readonly stdout: Output;
  /** Notices, progress, errors. */
  readonly stderr: Output;
  readonly interrupts: Interrupts;
}

/** Ctrl-C and its relatives: what stops a command, and the exit code that tells so. */
export class Interrupts {
  private readonly controller = new AbortController();
  private diversion: (() => void) | undefined;
  private code = 130;

  /** Fires when the command is to end. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get exitCode(): number {
    return this.code;
  }

  /** Ends the command (or what `divert` named instead). Whether this was heard: false after the first time. */
  fire(exitCode = 130): boolean {
    const instead = this.diversion;
    this.diversion = undefined;
    if (instead !== undefined && exitCode === 130) {
      instead();
      return true;
    }
    if (this.signal.aborted) return false;
    this.code = exitCode;
    this.controller.abort();
    return true;
  }

  /** Makes the next Ctrl-C call `instead`; returns what takes that back. */
  divert(instead: () => void): () => void {
    this.diversion = instead;
    return () => {
      if (this.diversion === instead) this.diversion = undefined;
    };
  }
}

/**
 * Writes, and waits while the reader is behind. Throws `AbortedError` when there is no reader any more, `FileAccessError`
 * where the system refuses, as when a disk is full.
 */
export async function write(output: Output, text: string): Promise<void> {
  if (output.destroyed || output.writableEnded) throw new AbortedError("nobody reads the output");
  if (await accepted(output, text)) return;
  await new Promise<void>((resolve) => {
    const events = ["drain", "close", "error"];
    const done = () => {
      for (const event of events) output.off(event, done);
      resolve();
    };
    for (const event of events) output.once(event, done);
  });
}

/** Whether more may be written at once. Where output goes to a file, writing fails here and now. */
async function accepted(output: Output, text: string): Promise<boolean> {
  try {
    return output.write(text);
  } catch (error) {
    const { fileAccessError } = await import("../host/node-files.ts");
    throw fileAccessError("the output", error);
  }
}

/** A model's text as `write` should get it: on a terminal without control characters, which could do anything there. */
export function safeText(output: Output, text: string): string {
  return output.isTTY === true ? printable(text) : text;
}

/** One JSON document, indented, on stdout. */
export async function writeJson(io: Io, value: unknown): Promise<void> {
  await write(io.stdout, `${JSON.stringify(value, null, 2)}\n`);
}
