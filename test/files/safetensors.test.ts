import { describe, expect, it } from "vitest";
import { FileFormatError, QigenError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readSafetensors, SAFETENSORS_LIMITS } from "../../src/files/safetensors.ts";
import { memorySource } from "../../src/files/source.ts";
import { openFile } from "../../src/host/node-files.ts";
import { shared } from "./gguf-fixtures.ts";
import { outcomeOf } from "./outcome.ts";
import { f32Data, rawSafetensors, safetensors } from "./safetensors-fixtures.ts";

const FLIPS = 1000;

const parse = (bytes: Uint8Array) => readSafetensors(memorySource("bad.safetensors", bytes));

const outcome = (bytes: Uint8Array) => outcomeOf(() => parse(bytes));

/** A file of a real model's header and no data behind it but zeros that are not there. */
async function headerOf(path: string): Promise<{ bytes: Uint8Array; size: number }> {
  const source = await openFile(path);
  const length = Number(new DataView((await source.read(0, 8)).buffer).getBigUint64(0, true));
  const bytes = await source.read(0, 8 + length);
  await source.close();
  return { bytes, size: source.size };
}

/** Parses a header as that of a file of `size` bytes. */
function parseHeader(bytes: Uint8Array, size: number) {
  const memory = memorySource("bad.safetensors", bytes);
  return readSafetensors({
    ...memory,
    size,
    read: async (offset, length) => {
      const all = new Uint8Array(length);
      all.set(bytes.subarray(offset, offset + length));
      return all;
    },
  });
}

describe("a safetensors file", () => {
  it("has its tensors where the header says", async () => {
    const tensors = {
      "a.weight": f32Data([2, 3], [1, 2, 3, 4, 5, 6]),
      empty: f32Data([0, 7], []),
      scalar: f32Data([], [8]),
      half: { dtype: "BF16", shape: [5], data: new Uint8Array(10).fill(3) },
    };
    const found = await parse(safetensors(tensors));
    expect([...found.keys()]).toEqual(Object.keys(tensors));
    for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
      const tensor = found.get(name)!;
      expect(tensor).toMatchObject({ name, dtype, shape, byteLength: data.length });
      expect(await tensor.source.read(tensor.offset, tensor.byteLength)).toEqual(new Uint8Array(data));
    }
  });

  it("of the trained model has all weights", async (context) => {
    const source = await openFile(shared(context, "models/tales/hf/model.safetensors"));
    const tensors = [...(await readSafetensors(source)).values()];
    await source.close();
    const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(weights).toBe(5_770_496);
  });
});

describe("damage", () => {
  const PATH = "models/tales/hf/model.safetensors";

  it("cut at every 1/64 of the header and of the file", async (context) => {
    const { bytes, size } = await headerOf(shared(context, PATH));
    for (let part = 0; part < 64; part++) {
      expect(await outcome(bytes.subarray(0, Math.floor((bytes.length * part) / 64)))).toBeInstanceOf(
        FileFormatError,
      );
      const cut = Math.max(bytes.length, Math.floor((size * part) / 64));
      await expect(parseHeader(bytes, cut)).rejects.toThrow(FileFormatError);
    }
  });

  it(`${FLIPS} times with random bytes changed in the header`, async (context) => {
    const { bytes, size } = await headerOf(shared(context, PATH));
    const rng = new Rng(7);
    let accepted = 0;
    for (let i = 0; i < FLIPS; i++) {
      const front = bytes.slice();
      for (let n = 1 + rng.integer(4); n > 0; n--) front[rng.integer(bytes.length)] = rng.integer(256);
      try {
        await parseHeader(front, size);
        accepted++;
      } catch (error) {
        expect(error).toBeInstanceOf(QigenError);
        expect(error).toHaveProperty("code", expect.stringMatching("FILE_FORMAT|UNSUPPORTED"));
      }
    }
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(FLIPS);
  });

  it.each([0n, 1n, 2n ** 24n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    "a header length of %s",
    async (length) => {
      expect(await outcome(rawSafetensors({}, new Uint8Array(100), length))).toBeInstanceOf(FileFormatError);
    },
  );

  it("a header that is nested deeply, or is of many empty values, takes neither long nor much memory", async () => {
    const before = process.memoryUsage().rss;
    const room = SAFETENSORS_LIMITS.headerBytes - 8;
    for (const [open, repeated, close] of [
      ['{"a":', "[", ""],
      ['{"a":[', "[],", "0]}"],
      ['{"a":[', "{},", "0]}"],
    ] as const) {
      const count = Math.floor((room - open.length - close.length) / repeated.length);
      expect(await outcome(rawSafetensors(open + repeated.repeat(count) + close))).toBeInstanceOf(
        FileFormatError,
      );
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(600e6);
  });

  it("more tensors than the limit", async () => {
    const one = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const entries = Array.from({ length: SAFETENSORS_LIMITS.tensors + 1 }, (_, i) => `"${i}":${one}`);
    expect(String(await outcome(rawSafetensors(`{${entries.join()}}`)))).toContain(
      "header: lists 131073 tensors",
    );
  });
});

describe("names the field that is wrong", () => {
  const entry = (more: object) => ({ dtype: "F32", shape: [4], data_offsets: [0, 16], ...more });
  const two = (offsets: readonly number[]) => ({ a: entry({}), b: entry({ data_offsets: offsets }) });
  const cases: readonly (readonly [string, unknown, string])[] = [
    ["an entry that is no object", { a: 3 }, 'tensor "a": is not described by an object'],
    ["no type", { a: entry({ dtype: undefined }) }, 'tensor "a": has no dtype'],
    ["a shape of text", { a: entry({ shape: "4" }) }, 'tensor "a": its shape is no array of whole numbers'],
    ["a negative extent", { a: entry({ shape: [-4] }) }, "its shape is no array of whole numbers"],
    ["a fraction", { a: entry({ shape: [4.5] }) }, "its shape is no array of whole numbers"],
    ["an extent of 2^60", { a: entry({ shape: [2 ** 60] }) }, "its shape is no array of whole numbers"],
    [
      "a product above 2^53",
      { a: entry({ shape: [2 ** 40, 2 ** 40] }) },
      "are not the 4835703278458516698824704 bytes",
    ],
    ["nine dimensions", { a: entry({ shape: Array(9).fill(1) }) }, "has 9 dimensions, above the limit of 8"],
    ["one offset", { a: entry({ data_offsets: [0] }) }, "its data_offsets are no two whole numbers"],
    ["offsets the wrong way round", { a: entry({ data_offsets: [16, 0] }) }, "its data_offsets 16 to 0"],
    ["a wrong size", { a: entry({ data_offsets: [0, 12] }) }, "are not the 16 bytes of F32 [4]"],
    ["the end passed", { a: entry({ data_offsets: [64, 80] }) }, "pass the end of the file"],
    ["overlap", two([12, 28]), 'tensor "b": its data overlaps that of tensor "a"'],
    ["the same data twice", two([0, 16]), "overlaps"],
    ["a long name", { ["x".repeat(1025)]: entry({}) }, "its name has more than 1024 bytes"],
    ["control codes in a name", { "\u001b[2J": 3 }, 'tensor "\\u001b[2J"'],
  ];
  it.each(cases)("%s", async (_, header, message) => {
    const error = await outcome(rawSafetensors(header, new Uint8Array(32)));
    expect(error).toBeInstanceOf(FileFormatError);
    expect(String(error)).toContain("bad.safetensors: ");
    expect(String(error)).toContain(message);
  });

  it("a type that is not known", async () => {
    const error = await outcome(rawSafetensors({ a: entry({ dtype: "F4" }) }, new Uint8Array(32)));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(String(error)).toContain('tensor "a" has elements of type "F4"');
  });

  it("a file of another kind", async () => {
    const text = (start: string) => new TextEncoder().encode(start.padEnd(64));
    expect(String(await outcome(text("version https://git-lfs.github.com/spec/v1")))).toContain(
      "Git LFS pointer",
    );
    expect(String(await outcome(text("GGUF")))).toContain("it is a GGUF file");
    expect(String(await outcome(text("<!doctype html>")))).toContain("web page");
    expect(String(await outcome(new Uint8Array(0)))).toContain("the file is empty");
    expect(String(await outcome(rawSafetensors('{"a":')))).toContain("header: is not JSON");
    expect(
      String(await outcome(rawSafetensors(Buffer.from([0x7b, 0xff, 0x7d]).toString("latin1")))),
    ).toContain("header: is not JSON");
  });

  it("__proto__ is a name like any other", async () => {
    const found = await parse(
      rawSafetensors('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', new Uint8Array(1)),
    );
    expect([...found.keys()]).toEqual(["__proto__"]);
  });
});
