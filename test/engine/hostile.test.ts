import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, describe, expect, test } from "vitest";
import { FileAccessError, FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { memorySource } from "../../src/files/source.ts";
import { ARCHITECTURE_NAMES } from "../../src/models/index.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { failure, fileError, NO_LOGITS, outcome, quickOutcome, StoryCopy, tinyWith } from "./damaged.ts";

const FLIPS = 1000;
const folder = temporaryFolder();
const rssBefore = process.memoryUsage().rss;

afterAll(() => {
  // What is kept counts, not what a busy machine has yet to collect.
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  expect(process.memoryUsage().rss - rssBefore).toBeLessThan(200e6);
});

describe("damaged copies of a model", () => {
  test("cut at every 1/64 of the header and of the file", async (context) => {
    const copy = new StoryCopy(context, join(folder, "cut.gguf"));
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
    const copy = new StoryCopy(context, join(folder, "flipped.gguf"));
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
      const result = await quickOutcome(copy.path);
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
        const result = await quickOutcome(path);
        // Factors out of all proportion make all logits infinite, or no numbers.
        const works = result === "works" || result.message.includes(NO_LOGITS);
        if (!works) expect(result.message).toContain(`${path}: llama.rope`);
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

  test("another architecture", async () => {
    await saveGguf(path, tinyWith({ "general.architecture": text("mamba") }));
    const known = `"mamba" is not supported; known: ${ARCHITECTURE_NAMES.join(", ")}`;
    expect(await failure(path, "general.architecture", known)).toBeInstanceOf(UnsupportedError);
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
        ? { ...tensor, type: "I16" as const, data: () => [new Uint8Array(300 * 64 * 2)] }
        : tensor,
    );
    await saveGguf(path, { metadata, tensors: other });
    expect(await fileError(path)).toContain(
      "tensor output.weight has type I16, for which there are no kernels",
    );
  });
});
