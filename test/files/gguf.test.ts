import { describe, expect, it } from "vitest";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { type GgufFile, readGguf } from "../../src/files/gguf.ts";
import { GGML_TYPES, type GgmlType, measureTensor } from "../../src/files/gguf-types.ts";
import { GGUF_TYPE_IDS as ID } from "../../src/files/gguf-values.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { memorySource } from "../../src/files/source.ts";
import { openFile } from "../../src/host/node-files.ts";
import { RawGguf, shared } from "./gguf-fixtures.ts";

async function readFile(path: string): Promise<GgufFile> {
  const source = await openFile(path);
  try {
    return await readGguf(source);
  } finally {
    await source.close();
  }
}

const parse = (bytes: Uint8Array) => readGguf(memorySource("test.gguf", bytes));

describe("real files", () => {
  it("stories260K", async (context) => {
    const path = shared(context, "models/stories260K/stories260K.gguf");
    const { metadata, tensors, alignment } = await readFile(path);
    expect(metadata.string("general.architecture")).toBe("llama");
    expect(metadata.u32("llama.embedding_length")).toBe(64);
    expect(metadata.u32("llama.feed_forward_length")).toBe(172);
    expect(metadata.u32("llama.block_count")).toBe(5);
    expect(metadata.strings("tokenizer.ggml.tokens")).toHaveLength(512);
    expect(metadata.f32Array("tokenizer.ggml.scores")).toHaveLength(512);
    expect(metadata.numbers("tokenizer.ggml.token_type")).toHaveLength(512);
    expect(alignment).toBe(32);
    const embedding = tensors.get("token_embd.weight");
    expect(embedding).toMatchObject({ type: "F32", shape: [64, 512], byteLength: 64 * 512 * 4 });
    expect(tensors.get("blk.4.ffn_down.weight")?.shape).toEqual([172, 64]);
  });

  it("stories260K's data lies where the header says: the first embedding is that of the checkpoint", async (context) => {
    const path = shared(context, "models/stories260K/stories260K.gguf");
    const checkpoint = await openFile(shared(context, "models/stories260K/stories260K.bin"));
    const source = await openFile(path);
    const { offset } = (await readGguf(source)).tensors.get("token_embd.weight")!;
    // llama2.c's header is seven 32-bit integers; the token embedding follows.
    expect(await source.read(offset, 64 * 512 * 4)).toEqual(await checkpoint.read(28, 64 * 512 * 4));
    await source.close();
    await checkpoint.close();
  });

  it("tales-5.8m-f16", async (context) => {
    const path = shared(context, "models/tales/tales-5.8m-f16.gguf");
    const { tensors, metadata, dataOffset } = await readFile(path);
    const list = [...tensors.values()];
    const types = new Set(list.map((tensor) => tensor.type));
    expect(types).toEqual(new Set(["F16", "F32"]));
    const weights = list.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(weights / 1e6).toBeCloseTo(5.8, 1);
    expect(Math.min(...list.map((tensor) => tensor.offset))).toBe(dataOffset);
    expect(metadata.has("tokenizer.ggml.tokens")).toBe(true);
  });

  it("llama-2-tiny-random, with a vocabulary of 32,000", async (context) => {
    const { metadata } = await readFile(shared(context, "fixtures/llama-2-tiny-random.gguf"));
    expect(metadata.strings("tokenizer.ggml.tokens")).toHaveLength(32000);
    expect(metadata.strings("tokenizer.ggml.tokens")[1]).toBe("<s>");
  });

  it.for(["gpt-2", "llama-spm"])("a vocabulary without tensors: %s", async (name, context) => {
    const { metadata, tensors } = await readFile(
      shared(context, `fixtures/gguf-vocab/ggml-vocab-${name}.gguf`),
    );
    expect(tensors.size).toBe(0);
    expect(metadata.strings("tokenizer.ggml.tokens").length).toBeGreaterThan(30000);
  });
});

describe("what is read", () => {
  it("version 2, every scalar type, arrays of every type, nested arrays", async () => {
    const raw = new RawGguf(0, 8, 2);
    raw.key("u8", ID.u8).u8(200);
    raw.key("i8", ID.i8).u8(200);
    raw.key("u64", ID.u64).u64(2n ** 64n - 1n);
    raw.key("i64", ID.i64).u64(2n ** 64n - 1n);
    raw.key("bool", ID.bool).u8(7);
    raw.key("text", ID.string).string("\ufeffa\0b");
    raw
      .key("flags", ID.array)
      .array(ID.bool, 3)
      .raw(Uint8Array.of(0, 1, 9));
    raw.key("nested", ID.array).array(ID.array, 2).array(ID.u16, 1).u16(513);
    raw.array(ID.string, 1).string("x");
    const { entries } = (await parse(raw.file())).metadata;
    expect([...entries]).toEqual([
      ["u8", { type: "u8", value: 200 }],
      ["i8", { type: "i8", value: -56 }],
      ["u64", { type: "u64", value: 2n ** 64n - 1n }],
      ["i64", { type: "i64", value: -1n }],
      ["bool", { type: "bool", value: true }],
      ["text", { type: "string", value: "\ufeffa\0b" }],
      ["flags", { type: "array", of: "bool", values: Uint8Array.of(0, 1, 1) }],
      [
        "nested",
        {
          type: "array",
          of: "array",
          values: [
            { type: "array", of: "u16", values: Uint16Array.of(513) },
            { type: "array", of: "string", values: PackedStrings.from(["x"]) },
          ],
        },
      ],
    ]);
  });

  it("strings that are not UTF-8: bytes kept, shown as U+FFFD, also where windows of the reader meet", async () => {
    const text = new Uint8Array(40).fill(0x61);
    text[0] = 0xff;
    const raw = new RawGguf(0, 1).key("k", ID.array).array(ID.string, 10000);
    for (let i = 0; i < 10000; i++) {
      raw.u64(40n);
      raw.raw(text);
    }
    const { metadata } = await parse(raw.file());
    expect(new Set(metadata.strings("k"))).toEqual(new Set([`\ufffd${"a".repeat(39)}`]));
    const value = metadata.entries.get("k");
    expect(value).toMatchObject({
      of: "string",
      values: { length: 10000, bytes: raw.written().slice(-480000) },
    });
  });

  it("tensors in any order with gaps, an alignment of its own, a scalar, a last tensor without padding", async () => {
    const raw = new RawGguf(3, 1);
    raw.key("general.alignment", ID.u32).u32(64);
    raw.tensor("late", [32, 2], GGML_TYPES.Q4_0.id, 128).tensor("early", [3], GGML_TYPES.F32.id, 0);
    raw.tensor("scalar", [], GGML_TYPES.F32.id, 64);
    const { tensors, dataOffset, alignment } = await parse(raw.file(128 + 36, 64));
    expect(alignment).toBe(64);
    expect(dataOffset % 64).toBe(0);
    expect([...tensors.values()]).toMatchObject([
      { name: "late", type: "Q4_0", shape: [32, 2], offset: dataOffset + 128, byteLength: 36 },
      { name: "early", type: "F32", shape: [3], offset: dataOffset, byteLength: 12 },
      { name: "scalar", type: "F32", shape: [], offset: dataOffset + 64, byteLength: 4 },
    ]);
  });
});

describe("tensor types", () => {
  it("have distinct ids and sizes of whole blocks", () => {
    const types = Object.entries(GGML_TYPES);
    expect(new Set(types.map(([, info]) => info.id)).size).toBe(types.length);
    for (const [name, { weights }] of types) {
      const type = name as GgmlType;
      expect(measureTensor(type, [weights * 3, 5])).toEqual({ byteLength: 15 * GGML_TYPES[type].bytes });
      if (weights > 1) expect(measureTensor(type, [weights + 1])).toHaveProperty("problem");
    }
  });

  it("take the bits per weight that their formats are known by", () => {
    const bits = (type: GgmlType) => (8 * GGML_TYPES[type].bytes) / GGML_TYPES[type].weights;
    expect(bits("Q4_0")).toBe(4.5);
    expect(bits("Q8_0")).toBe(8.5);
    expect(bits("Q2_K")).toBe(2.625);
    expect(bits("Q3_K")).toBe(3.4375);
    expect(bits("Q4_K")).toBe(4.5);
    expect(bits("Q5_K")).toBe(5.5);
    expect(bits("Q6_K")).toBe(6.5625);
    expect(bits("IQ1_S")).toBe(1.5625);
    expect(bits("IQ1_M")).toBe(1.75);
    expect(bits("IQ2_XXS")).toBe(2.0625);
    expect(bits("IQ2_XS")).toBe(2.3125);
    expect(bits("IQ2_S")).toBe(2.5625);
    expect(bits("IQ3_XXS")).toBe(3.0625);
    expect(bits("IQ3_S")).toBe(3.4375);
    expect(bits("IQ4_XS")).toBe(4.25);
    expect(bits("TQ1_0")).toBe(1.6875);
    expect(bits("TQ2_0")).toBe(2.0625);
    expect(bits("MXFP4")).toBe(4.25);
    expect(bits("NVFP4")).toBe(4.5);
  });
});

describe("metadata accessors", () => {
  async function metadata() {
    const raw = new RawGguf(0, 7);
    raw.key("count", ID.u64).u64(7n);
    raw.key("large", ID.u64).u64(2n ** 63n);
    raw.key("negative", ID.i32).u32(0xffffffff);
    raw.key("theta", ID.f32).f32(10000);
    raw.key("name", ID.string).string("x");
    raw
      .key("wide", ID.array)
      .array(ID.i64, 2)
      .raw(new Uint8Array(BigInt64Array.of(-1n, 5n).buffer));
    raw.key("on", ID.bool).u8(1);
    return (await parse(raw.file())).metadata;
  }

  it("check values, not the widths writers choose", async () => {
    const meta = await metadata();
    expect(meta.u32("count")).toBe(7);
    expect(meta.integer("negative", -10, 10)).toBe(-1);
    expect(meta.f32("theta")).toBe(10000);
    expect(meta.f32("count")).toBe(7);
    expect(meta.bool("on")).toBe(true);
    expect(meta.numbers("wide")).toEqual(Float64Array.of(-1, 5));
    expect(meta.u32Or("absent", 3)).toBe(3);
    expect(meta.stringOr("absent", undefined)).toBe(undefined);
    expect(meta.stringsOr("absent", null)).toBe(null);
  });

  it("name the file and the key in every error", async () => {
    const meta = await metadata();
    const failures: [() => unknown, string][] = [
      [() => meta.string("absent"), "test.gguf: absent: is missing from the metadata"],
      [() => meta.string("theta"), "test.gguf: theta: should be a string, but is f32 10000"],
      [() => meta.u32("large"), "test.gguf: large: is 9223372036854775808, not from 0 to 4294967295"],
      [() => meta.u32("negative"), "is -1, not from 0"],
      [() => meta.u32Or("name", 3), "test.gguf: name: should be an integer, but is string"],
      [() => meta.f32("name"), "a finite number"],
      [() => meta.bool("count"), "a boolean"],
      [() => meta.strings("wide"), "should be an array of strings, but is an array of 2 × i64"],
      [() => meta.f32Array("wide"), "an array of f32"],
      [() => meta.numbers("name"), "an array of numbers"],
    ];
    for (const [act, message] of failures) {
      expect(act).toThrow(FileFormatError);
      expect(act).toThrow(message);
    }
  });
});

describe("what is unsupported says so", () => {
  const unsupported: [string, RawGguf, string][] = [
    ["big-endian", new RawGguf(0, 0, 0x03000000), "big-endian"],
    ["version 1", new RawGguf(0, 0, 1), "version 1"],
    ["version 4", new RawGguf(0, 0, 4), "version 4 is newer"],
    ["a removed type", new RawGguf(1, 0).tensor("w", [32], 31, 0), 'tensor "w" has the type 31 (Q4_0_4_4)'],
    ["an unknown type", new RawGguf(1, 0).tensor("w", [32], 99, 0), 'tensor "w" has the type 99, which'],
  ];
  it.each(unsupported)("%s", async (_, raw, message) => {
    const reading = parse(raw.file(64));
    await expect(reading).rejects.toThrow(UnsupportedError);
    await expect(reading).rejects.toThrow(message);
  });
});
