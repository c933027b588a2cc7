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
import { afterAll, describe, expect, type TestContext, test } from "vitest";
import { type BackendKind, loadModel, QigenError } from "../../src/api/index.ts";
import { FileAccessError, FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { compileModel, openModel } from "../../src/engine/load-model.ts";
import { packKernels, stagingBytes, writePackedWeights } from "../../src/engine/weights.ts";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { GgufToWrite } from "../../src/files/gguf-writer.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { type ByteSource, memorySource } from "../../src/files/source.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { INTERPRETER_TARGETS, NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";

const STORIES = "models/stories260K/stories260K.gguf";
const FLIPS = 1000;
const folder = temporaryFolder();
const rssBefore = process.memoryUsage().rss;

afterAll(() => {
  expect(process.memoryUsage().rss - rssBefore).toBeLessThan(200e6);
});

/** Loads a file, which may be anything, and writes a token: that works, or there is a stated error. */
async function outcome(path: string, backend: BackendKind = "wasm"): Promise<"works" | QigenError> {
  try {
    await using model = await loadModel(path, { backend, threads: 1 });
    for await (const _ of model.generate("a", { maxTokens: 1 }));
    return "works";
  } catch (error) {
    if (error instanceof QigenError && error.code !== "INTERNAL") return error;
    throw new Error(`not a stated error: ${error}`, { cause: error });
  }
}

/** The error of a file that does not load. It says which file, and does not take long to come. */
async function failure(path: string, ...parts: readonly string[]): Promise<QigenError> {
  const start = performance.now();
  const error = await outcome(path);
  expect(performance.now() - start).toBeLessThan(1000);
  if (error === "works") throw new Error(`${path} works`);
  for (const part of [path, ...parts]) expect(error.message).toContain(part);
  return error;
}

/** The message of an error about a file. */
async function fileError(path: string): Promise<string> {
  const error = await failure(path);
  expect(error instanceof FileFormatError || error instanceof UnsupportedError, String(error)).toBe(true);
  return error.message;
}

/** The story model as a file of its own that tests change in place. */
class Copy {
  readonly path: string;
  readonly bytes: Uint8Array;
  private readonly descriptor: number;

  constructor(context: TestContext, name: string) {
    this.bytes = new Uint8Array(readFileSync(shared(context, STORIES)));
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
      const result = await outcome(copy.path);
      if (result === "works") counts.works++;
      else counts.fails++;
      copy.bytes.set(kept, at);
      copy.save(at, length);
    }
    copy.close();
    expect(counts.works).toBeGreaterThan(0);
    expect(counts.fails).toBeGreaterThan(FLIPS / 2);
  });
});

/** A small model with other metadata; `undefined` leaves a key out. */
function tinyWith(changes: Readonly<Record<string, GgufValue | undefined>>): GgufToWrite {
  const { metadata, tensors } = tinyLlama();
  const changed = new Map<string, GgufValue>(metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) changed.delete(key);
    else changed.set(key, value);
  }
  return { metadata: changed, tensors };
}

const ABSURD: readonly GgufValue[] = [
  { type: "u32", value: 0 },
  { type: "i32", value: -1 },
  { type: "u32", value: 2 ** 31 },
  { type: "u64", value: 2n ** 63n },
  { type: "f32", value: Number.NaN },
  { type: "f32", value: Number.NEGATIVE_INFINITY },
  { type: "f64", value: 1e-300 },
  { type: "string", value: "64" },
  { type: "bool", value: true },
  { type: "array", of: "u32", values: new Uint32Array(4) },
];

/** Values of `ABSURD` that a real-valued constant may have: they give a poor text. */
const POSITIVE = [2 ** 31, 2n ** 63n, 1e-300];

/** Keys, and the values that are no error. */
const KEYS: readonly (readonly [string, readonly unknown[]])[] = [
  ["context_length", []],
  ["embedding_length", []],
  ["block_count", []],
  ["feed_forward_length", []],
  ["vocab_size", []],
  ["expert_count", [0]],
  ["attention.head_count", []],
  ["attention.head_count_kv", []],
  ["attention.key_length", []],
  ["attention.value_length", []],
  ["attention.layer_norm_rms_epsilon", POSITIVE],
  ["rope.dimension_count", []],
  ["rope.freq_base", POSITIVE],
  ["rope.scale_linear", POSITIVE],
  ["rope.scaling.type", ["64"]], // of a factor of 1 that no one asks for
];

describe("absurd values", () => {
  const path = join(folder, "absurd.gguf");

  test.each(KEYS)("llama.%s", async (key, accepted) => {
    for (const value of ABSURD) {
      await saveGguf(path, tinyWith({ [`llama.${key}`]: value }));
      const works = value.type !== "array" && accepted.includes(value.value);
      if (works) expect(await outcome(path)).toBe("works");
      else
        expect(await fileError(path)).toContain(
          key === "rope.scale_linear" ? "llama.rope.scal" : `llama.${key}`,
        );
    }
  });

  test.each(["factor", "original_context_length", "yarn_beta_fast", "yarn_beta_slow", "attn_factor"])(
    "llama.rope.scaling.%s",
    async (key) => {
      const yarn: Record<string, GgufValue> = {
        "llama.rope.scaling.type": { type: "string", value: "yarn" },
        "llama.rope.scaling.factor": { type: "f32", value: 4 },
      };
      await saveGguf(path, tinyWith(yarn));
      expect(await outcome(path)).toBe("works");
      for (const value of ABSURD) {
        await saveGguf(path, tinyWith({ ...yarn, [`llama.rope.scaling.${key}`]: value }));
        const result = await outcome(path);
        // Factors out of all proportion make all logits infinite, or no numbers.
        const said = result === "works" ? result : result.message.replace(path, "file");
        expect(said).toMatch(/^(works|file: llama\.rope.*|sampling: none of the 300 logits is a number.*)$/);
      }
    },
  );

  test.each([
    ["embedding_length", 128],
    ["block_count", 2],
    ["feed_forward_length", 64],
    ["vocab_size", 299],
    ["attention.head_count", 4],
    ["attention.head_count_kv", 2],
    ["attention.key_length", 16],
  ])("llama.%s that does not fit the tensors", async (key, value) => {
    await saveGguf(path, tinyWith({ [`llama.${key}`]: { type: "u32", value } }));
    expect(await fileError(path)).toMatch(/: (tensor|llama\.|heads with)/);
  });

  test.each(KEYS.slice(0, 4).map(([key]) => key))("no llama.%s", async (key) => {
    await saveGguf(path, tinyWith({ [`llama.${key}`]: undefined }));
    expect(await fileError(path)).toContain(`llama.${key}: is missing`);
  });
});

describe("files that are something else", () => {
  const path = join(folder, "other.gguf");
  const text = (value: string): GgufValue => ({ type: "string", value });

  test("a web page", async () => {
    writeFileSync(path, "<!DOCTYPE html><title>Log in</title>");
    expect(await fileError(path)).toContain("it looks like a web page");
  });

  test("nothing, a folder, an empty file", async () => {
    mkdirSync(join(folder, "folder.gguf"));
    expect(await failure(join(folder, "absent.gguf"))).toBeInstanceOf(FileAccessError);
    expect(await failure(join(folder, "folder.gguf"))).toBeInstanceOf(FileAccessError);
    writeFileSync(path, "");
    expect(await failure(path)).toBeInstanceOf(FileFormatError);
  });

  test("another architecture", async (context) => {
    const gpt2 = shared(context, "fixtures/gguf-vocab/ggml-vocab-gpt-2.gguf");
    const error = await failure(gpt2, "general.architecture", '"gpt2" is not supported; known: llama');
    expect(error).toBeInstanceOf(UnsupportedError);
    await saveGguf(path, tinyWith({ "general.architecture": text("__proto__") }));
    expect(await failure(path)).toBeInstanceOf(UnsupportedError);
    await saveGguf(path, tinyWith({ "general.architecture": undefined }));
    expect(await fileError(path)).toContain("general.architecture: is missing");
  });

  test("a vocabulary without a model", async (context) => {
    const vocabulary = shared(context, "fixtures/gguf-vocab/ggml-vocab-llama-spm.gguf");
    expect((await failure(vocabulary)).message).toMatch(/tensor token_embd.weight: is missing|: llama\./);
  });

  test("a model without a vocabulary, or with one that does not fit", async () => {
    await saveGguf(path, tinyWith({ "tokenizer.ggml.model": undefined }));
    expect(await fileError(path)).toContain("tokenizer.ggml.model: is missing");
    await saveGguf(path, tinyWith({ "tokenizer.ggml.tokens": undefined }));
    expect(await fileError(path)).toContain("tokenizer.ggml.tokens: is missing");
    const pieces = Array.from({ length: 301 }, (_, i) => `piece${i}`);
    const tokens: GgufValue = { type: "array", of: "string", values: PackedStrings.from(pieces) };
    const changes = { "tokenizer.ggml.scores": undefined, "tokenizer.ggml.token_type": undefined };
    await saveGguf(path, tinyWith({ ...changes, "tokenizer.ggml.tokens": tokens }));
    expect(await fileError(path)).toContain(
      "tokenizer.ggml.tokens: has 301 tokens, but the embedding only 300",
    );
  });

  test("a tensor that has no place, one of a type without kernels", async () => {
    const { metadata, tensors } = tinyLlama();
    const extra = {
      name: "blk.0.\u001b[31m",
      type: "F32",
      shape: [4],
      data: () => [new Uint8Array(16)],
    } as const;
    await saveGguf(path, { metadata, tensors: [...tensors, extra] });
    expect(await fileError(path)).toContain('the first is "blk.0.\\u001b[31m"');
    const other = tensors.map((tensor) =>
      tensor.name === "output.weight"
        ? { ...tensor, type: "Q5_0" as const, data: () => [new Uint8Array(300 * 2 * 22)] }
        : tensor,
    );
    await saveGguf(path, { metadata, tensors: other });
    expect(await fileError(path)).toContain("tensor output.weight has type Q5_0");
  });
});

/** Half floats. */
const BAD_SCALES = { infinity: 0x7c00, NaN: 0x7e01, "the largest": 0xfbff } as const;

/** A small model in which every fifth scale has these bits. */
function tinyWithScales(bits: number): GgufToWrite {
  const { metadata, tensors } = tinyLlama();
  const damaged = tensors.map((tensor) => {
    if (tensor.type !== "Q4_0") return tensor;
    const data = () =>
      [...(tensor.data() as Iterable<Uint8Array>)].map((chunk) => {
        const bytes = chunk.slice();
        const view = new DataView(bytes.buffer);
        for (let block = 0; block < bytes.length; block += 5 * 18) view.setUint16(block, bits, true);
        return bytes;
      });
    return { ...tensor, data };
  });
  return { metadata, tensors: damaged };
}

describe("weights that are no numbers", () => {
  const cases = (["wasm", "native"] as const).flatMap((backend) =>
    Object.entries(BAD_SCALES).map(([what, bits]) => [backend, what, bits] as const),
  );
  test.for(cases)("make no text, or a poor one, on %s: scales of %s", async ([backend, , bits], context) => {
    if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
    const path = await saveGguf(join(folder, "scales.gguf"), tinyWithScales(bits));
    const result = await outcome(path, backend);
    if (result !== "works") expect(result.message).toContain("none of the 300 logits is a number");
  });

  test("in a norm, or where they are to be quantized, are an error of the file", async (context) => {
    const copy = new Copy(context, "weights.gguf");
    const { tensors } = await readGguf(memorySource("", copy.bytes));
    const view = new DataView(copy.bytes.buffer);
    for (const [name, value] of [
      ["blk.1.ffn_norm.weight", Number.NaN],
      ["blk.3.ffn_up.weight", Number.POSITIVE_INFINITY],
      ["blk.3.ffn_up.weight", 3e38],
    ] as const) {
      const at = (tensors.get(name)?.offset ?? 0) + 40;
      const kept = view.getFloat32(at, true);
      view.setFloat32(at, value, true);
      copy.save(at, 4);
      const loading = loadModel(copy.path, { backend: "wasm", quantize: "Q4_0" });
      await expect(loading).rejects.toThrow(FileFormatError);
      await expect(loading).rejects.toThrow(`${copy.path}: tensor ${name}: `);
      view.setFloat32(at, kept, true);
      copy.save(at, 4);
    }
    copy.close();
  });
});

test("a disk that is full while weights are packed is an error of the call, not of the process", async (context) => {
  const opened = await openModel(shared(context, STORIES));
  const [target] = INTERPRETER_TARGETS.slice(-1) as [TestTarget];
  const program = compileModel(opened, genericMachine(), target.isa, "interpreter", { threads: 1 });
  const matrices = [...program.matrices.values()];
  const kernels = [...packKernels(matrices, target.isa).values()];
  const capacity = stagingBytes(matrices) + 2 ** 20;
  const backend = await target.create({ threads: 1, kernels, capacity });
  // Reading takes longer than packing, so that a part fails while the next one is read.
  const slow: ByteSource = {
    ...opened.source,
    readInto: async (offset, bytes) => {
      await opened.source.readInto(offset, bytes);
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
  };
  const full = async () => {
    throw new FileAccessError("packed", "no space left on the device");
  };
  const writing = writePackedWeights(program, backend, opened.file, slow, full);
  await expect(writing).rejects.toThrow("no space left");
  await backend.dispose();
  await opened.source.close();
});
