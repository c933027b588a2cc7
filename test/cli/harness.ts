import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { afterAll } from "vitest";
import { Interrupts, type Io } from "../../src/cli/io.ts";
import { runCli } from "../../src/cli/program.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { type GgufToWrite, writeGguf } from "../../src/files/gguf-writer.ts";
import { randomLlama } from "../../src/models/random-llama.ts";

/** A folder that is gone when the tests of the file are done. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "qigen-cli-"));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function saveGguf(path: string, contents: GgufToWrite): Promise<string> {
  const file = await open(path, "w");
  try {
    await writeGguf(async (chunk) => {
      await file.write(chunk);
    }, contents);
  } finally {
    await file.close();
  }
  return path;
}

/** A random Llama that loads in a moment. */
export function tinyLlama(
  more: Readonly<Record<string, GgufValue>> = {},
  format: GgmlType = "Q4_0",
): GgufToWrite {
  const { metadata, tensors } = randomLlama({
    layers: 1,
    hiddenSize: 64,
    intermediateSize: 96,
    heads: 2,
    kvHeads: 1,
    vocabularySize: 300,
    contextLength: 96,
    format,
  });
  return { metadata: new Map([...metadata, ...Object.entries(more)]), tensors };
}

/** Turns as `<role>text;`. */
export const CHAT_TEMPLATE: GgufValue = {
  type: "string",
  value: "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}<assistant>",
};

/** A stream that keeps what is written to it. */
export class Collected extends Writable {
  text = "";
  constructor(private readonly onWrite?: (text: string) => void) {
    super({ decodeStrings: false });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    this.onWrite?.(String(chunk));
    done();
  }
}

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly stdin?: string | Readable;
  readonly onStdout?: (text: string, interrupts: Interrupts) => void;
  readonly interrupts?: Interrupts;
}

/** Runs a command line in this process. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { interrupts = new Interrupts() } = options;
  const stdout = new Collected((text) => options.onStdout?.(text, interrupts));
  const stderr = new Collected();
  const { stdin = "" } = options;
  const io: Io = {
    stdin: typeof stdin === "string" ? Readable.from(stdin === "" ? [] : [stdin]) : stdin,
    stdout,
    stderr,
    interrupts,
  };
  const code = await runCli(args, io);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Input that a test feeds line by line. */
export function lines(): PassThrough {
  return new PassThrough();
}
