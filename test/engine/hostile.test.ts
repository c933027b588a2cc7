import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { type BackendKind, loadModel, QigenError } from "../../src/api/index.ts";
import { FileAccessError, FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { GgufToWrite } from "../../src/files/gguf-writer.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { memorySource } from "../../src/files/source.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";

const STORIES = "models/stories260K/stories260K.gguf";
const FLIPS = 1000;
/** So many of the damaged files that can be opened are loaded and run. */
const LOADS = 40;
const folder = temporaryFolder();
const rssBefore = process.memoryUsage().rss;

afterAll(() => {
  expect(process.memoryUsage().rss - rssBefore).toBeLessThan(200e6);
});

/** Loads a file, which may be anything, and writes a token: that works, or there is a stated error within a second. */
async function outcome(path: string, backend: BackendKind = "wasm"): Promise<"works" | QigenError> {
  const start = performance.now();
  try {
    await using model = await loadModel(path, { backend, threads: 1 });
    for await (const _ of model.generate("a", { maxTokens: 1 }));
    return "works";
  } catch (error) {
    if (!(error instanceof QigenError) || error.code === "INTERNAL") {
      throw new Error(`not a stated error: ${error}`, { cause: error });
    }
    expect(performance.now() - start).toBeLessThan(1000);
    return error;
  }
}

async function failure(path: string, ...parts: readonly string[]): Promise<QigenError> {
  const error = await outcome(path);
  if (error === "works") throw new Error(`${path} works`);
  for (const part of [path, ...parts]) expect(error.message).toContain(part);
  return error;
}

/** The story model as a file of its own that tests change in place. */
class Copy {
  readonly path: string;
  readonly bytes: Uint8Array;
  private readonly descriptor: number;

  constructor(context: TestContext, name: string) {
    this.bytes = readFileSync(shared(context, STORIES));
    this.path = join(folder, name);
    writeFileSync(this.path, this.bytes);
    this.descriptor = openSync(this.path, "r+");
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

describe("damaged copies of a model", () => {
  test("cut at every 1/64 of the header and of the file", async (context) => {
    const copy = new Copy(context, "cut.gguf");
    const { dataOffset } = await readGguf(memorySource("", copy.bytes));
    const cuts = [copy.bytes.length, dataOffset].flatMap((whole) =>
      Array.from({ length: 64 }, (_, part) => Math.floor((whole * part) / 64)),
    );
    for (const cut of cuts.sort((a, b) => b - a)) {
      copy.cut(cut);
      expect(await failure(copy.path)).toBeInstanceOf(FileFormatError);
    }
    copy.close();
  });

  test(`${FLIPS} times with random bytes changed in the header`, async (context) => {
    const copy = new Copy(context, "flipped.gguf");
    const { dataOffset } = await readGguf(memorySource("", copy.bytes));
    // Most of the header are pieces of text, where anything goes: most changes are to what comes after.
    const text = Buffer.from(copy.bytes.buffer).indexOf("llama.context_length");
    expect(text).toBeGreaterThan(0);
    const rng = new Rng(11);
    const counts = { works: 0, fails: 0 };
    for (let i = 0; i < FLIPS; i++) {
      const start = i % 4 === 0 ? 0 : text;
      const at = start + rng.integer(dataOffset - start);
      const length = 1 + rng.integer(Math.min(4, dataOffset - at));
      const kept = copy.bytes.slice(at, at + length);
      for (let k = 0; k < length; k++) copy.bytes[at + k] = rng.integer(256);
      copy.save(at, length);
      const result = await outcome(copy.path, counts.works < LOADS ? "wasm" : "wasm");
      if (result === "works") counts.works++;
      else counts.fails++;
      copy.bytes.set(kept, at);
      copy.save(at, length);
    }
    console.log(counts);
    copy.close();
    expect(counts.works).toBeGreaterThan(0);
    expect(counts.fails).toBeGreaterThan(FLIPS / 4);
  });
});
