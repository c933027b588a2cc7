import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { expect, type TestContext } from "vitest";
import { type BackendKind, loadModel, QigenError } from "../../src/api/index.ts";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { GgufToWrite } from "../../src/files/gguf-writer.ts";
import { tinyLlama } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";

export const STORIES = "models/stories260K/stories260K.gguf";

/** What is said of a model that computes no numbers. */
export const NO_LOGITS = "weights: give logits that are not finite";

/** Loads a file, which may be anything, and writes a token: that works, or there is a stated error. */
export async function outcome(path: string, backend: BackendKind = "wasm"): Promise<"works" | QigenError> {
  try {
    await using model = await loadModel(path, { backend, threads: 1 });
    for await (const _ of model.generate("a", { maxTokens: 1 }));
    return "works";
  } catch (error) {
    if (error instanceof QigenError && error.code !== "INTERNAL") return error;
    throw new Error(`not a stated error: ${error}`, { cause: error });
  }
}

/** As `outcome`; an error says which file it is about, and does not take long to come. */
export async function quickOutcome(path: string): Promise<"works" | QigenError> {
  const start = performance.now();
  const result = await outcome(path);
  if (result === "works" || result.message.includes(NO_LOGITS)) return result;
  expect(performance.now() - start).toBeLessThan(1000);
  expect(result.message).toContain(path);
  return result;
}

/** The error of a file that does not load. */
export async function failure(path: string, ...parts: readonly string[]): Promise<QigenError> {
  const error = await quickOutcome(path);
  if (error === "works") throw new Error(`${path} works`);
  for (const part of [path, ...parts]) expect(error.message).toContain(part);
  return error;
}

/** The message of an error about a file. */
export async function fileError(path: string): Promise<string> {
  const error = await failure(path);
  expect(error instanceof FileFormatError || error instanceof UnsupportedError, String(error)).toBe(true);
  return error.message;
}

/** The story model as a file of its own that tests change in place. */
export class StoryCopy {
  readonly bytes: Uint8Array;
  private readonly descriptor: number;

  constructor(
    context: TestContext,
    readonly path: string,
  ) {
    this.bytes = new Uint8Array(readFileSync(shared(context, STORIES)));
    writeFileSync(path, this.bytes);
    this.descriptor = openSync(path, "r+");
  }

  cut(length: number): void {
    ftruncateSync(this.descriptor, length);
  }

  /** Writes the bytes as they are now; the caller has changed some between these offsets. */
  save(offset: number, length: number): void {
    writeSync(this.descriptor, this.bytes, offset, length, offset);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** A small model with other metadata; `undefined` leaves a key out. */
export function tinyWith(changes: Readonly<Record<string, GgufValue | undefined>>): GgufToWrite {
  const { metadata, tensors } = tinyLlama();
  const changed = new Map<string, GgufValue>(metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) changed.delete(key);
    else changed.set(key, value);
  }
  return { metadata: changed, tensors };
}
