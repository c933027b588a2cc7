import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { readGguf } from "../../src/files/gguf.ts";
import { GGML_TYPES, type GgmlType, measureTensor } from "../../src/files/gguf-types.ts";
import type { GgufArray, GgufScalar, GgufValue } from "../../src/files/gguf-values.ts";
import { type GgufToWrite, writeGguf } from "../../src/files/gguf-writer.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { memorySource } from "../../src/files/source.ts";
import { openFile } from "../../src/host/node-files.ts";
import { shared } from "./gguf-fixtures.ts";

/** Writes into memory. */
async function written(contents: GgufToWrite): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const length = await writeGguf(async (chunk) => {
    chunks.push(chunk.slice());
  }, contents);
  const bytes = new Uint8Array(Buffer.concat(chunks));
  expect(bytes.length).toBe(length);
  return bytes;
}

const text = fc.string({ unit: "binary", maxLength: 20 });

const scalar: fc.Arbitrary<GgufScalar> = fc.oneof(
  fc.integer({ min: 0, max: 255 }).map((value) => ({ type: "u8", value }) as const),
  fc.integer({ min: -128, max: 127 }).map((value) => ({ type: "i8", value }) as const),
  fc.integer({ min: 0, max: 65535 }).map((value) => ({ type: "u16", value }) as const),
  fc.integer({ min: -32768, max: 32767 }).map((value) => ({ type: "i16", value }) as const),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((value) => ({ type: "u32", value }) as const),
  fc.integer().map((value) => ({ type: "i32", value }) as const),
  fc.bigInt(0n, 2n ** 64n - 1n).map((value) => ({ type: "u64", value }) as const),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((value) => ({ type: "i64", value }) as const),
  fc.float().map((value) => ({ type: "f32", value }) as const),
  fc.double().map((value) => ({ type: "f64", value }) as const),
  fc.boolean().map((value) => ({ type: "bool", value }) as const),
  text.map((value) => ({ type: "string", value }) as const),
);

const flatArray: fc.Arbitrary<GgufArray> = fc.oneof(
  fc.uint8Array().map((values) => ({ type: "array", of: "u8", values }) as const),
  fc.int8Array().map((values) => ({ type: "array", of: "i8", values }) as const),
  fc.uint16Array().map((values) => ({ type: "array", of: "u16", values }) as const),
  fc.int16Array().map((values) => ({ type: "array", of: "i16", values }) as const),
  fc.uint32Array().map((values) => ({ type: "array", of: "u32", values }) as const),
  fc.int32Array().map((values) => ({ type: "array", of: "i32", values }) as const),
  fc.bigUint64Array().map((values) => ({ type: "array", of: "u64", values }) as const),
  fc.bigInt64Array().map((values) => ({ type: "array", of: "i64", values }) as const),
  fc.float32Array().map((values) => ({ type: "array", of: "f32", values }) as const),
  fc.float64Array().map((values) => ({ type: "array", of: "f64", values }) as const),
  fc.uint8Array({ max: 1 }).map((values) => ({ type: "array", of: "bool", values }) as const),
  fc
    .array(text)
    .map((texts) => ({ type: "array", of: "string", values: PackedStrings.from(texts) }) as const),
);

const value: fc.Arbitrary<GgufValue> = fc.oneof(
  scalar,
  flatArray,
  fc.array(flatArray, { maxLength: 3 }).map((values) => ({ type: "array", of: "array", values }) as const),
);

const key = text.filter((name) => name !== "" && name !== "general.alignment");

const metadata = fc
  .tuple(fc.array(fc.tuple(key, value), { maxLength: 8 }), fc.constantFrom(undefined, 1, 8, 32, 256))
  .map(([entries, alignment]) => {
    const map = new Map<string, GgufValue>(entries);
    if (alignment !== undefined) map.set("general.alignment", { type: "u32", value: alignment });
    return map;
  });

const tensor = fc
  .record({
    name: text,
    type: fc.constantFrom(...(Object.keys(GGML_TYPES) as GgmlType[])),
    blocks: fc.integer({ min: 1, max: 3 }),
    others: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
    seed: fc.integer({ min: 0, max: 255 }),
    chunk: fc.integer({ min: 1, max: 5000 }),
  })
  .map(({ name, type, blocks, others, seed, chunk }) => {
    const shape = [blocks * GGML_TYPES[type].weights, ...others];
    const measured = measureTensor(type, shape);
    const byteLength = "byteLength" in measured ? measured.byteLength : 0;
    const bytes = Uint8Array.from({ length: byteLength }, (_, i) => (seed + 7 * i) & 255);
    function* data() {
      for (let i = 0; i < byteLength; i += chunk) yield bytes.subarray(i, i + chunk);
    }
    return { name, type, shape, data, bytes };
  });

describe("writeGguf", () => {
  it("writes what readGguf reads back: metadata, tensors and their bytes", async () => {
    const tensors = fc.uniqueArray(tensor, { maxLength: 5, selector: ({ name }) => name });
    await fc.assert(
      fc.asyncProperty(metadata, tensors, async (entries, list) => {
        const source = memorySource("written", await written({ metadata: entries, tensors: list }));
        const file = await readGguf(source);
        expect([...file.metadata.entries]).toEqual([...entries]);
        expect([...file.tensors.keys()]).toEqual(list.map(({ name }) => name));
        for (const { name, type, shape, bytes } of list) {
          const found = file.tensors.get(name)!;
          expect([found.type, found.shape]).toEqual([type, shape]);
          expect(await source.read(found.offset, found.byteLength)).toEqual(bytes);
        }
      }),
      { numRuns: 200 },
    );
  });

  const models = [
    "models/stories260K/stories260K.gguf",
    "models/tales/tales-5.8m-f16.gguf",
    "fixtures/llama-2-tiny-random.gguf",
  ];
  it.for(models)("writes %s again byte for byte", async (path, context) => {
    const source = await openFile(shared(context, path));
    const { metadata: meta, tensors } = await readGguf(source);
    const again = await written({
      metadata: meta.entries,
      tensors: [...tensors.values()].map(({ offset, byteLength, ...rest }) => ({
        ...rest,
        async *data() {
          yield await source.read(offset, byteLength);
        },
      })),
    });
    expect(Buffer.compare(again, await source.read(0, source.size))).toBe(0);
    await source.close();
  });

  it("streams 4 GiB of data without holding it", async () => {
    const chunk = new Uint8Array(16 << 20);
    const rows = 1 << 16;
    let largest = 0;
    let total = 0;
    const length = await writeGguf(
      async (bytes) => {
        largest = Math.max(largest, bytes.length);
        total += bytes.length;
      },
      {
        metadata: new Map(),
        tensors: [
          {
            name: "big",
            type: "F32",
            shape: [16384, rows],
            *data() {
              for (let left = 4 * 16384 * rows; left > 0; left -= chunk.length) yield chunk;
            },
          },
        ],
      },
    );
    expect(total).toBe(length);
    expect(length).toBeGreaterThan(2 ** 32);
    expect(largest).toBe(chunk.length);
  });
});

describe("writeGguf refuses", () => {
  const data = (length: number) => () => [new Uint8Array(length)];
  const one = (over: object): GgufToWrite => ({
    metadata: new Map(),
    tensors: [{ name: "w", type: "F32", shape: [2], data: data(8), ...over }],
  });
  const meta = (name: string, entry: GgufValue): GgufToWrite => ({
    metadata: new Map([[name, entry]]),
    tensors: [],
  });
  const contents: [string, GgufToWrite, string][] = [
    ["too little data", one({ data: data(7) }), 'tensor "w": data should have 8 bytes, but has 7'],
    ["too much data", one({ data: data(9) }), "data should have 8 bytes, but has more"],
    ["a row of half a block", one({ type: "Q4_0", shape: [16] }), "no multiple of Q4_0's 32"],
    ["a dimension of 0", one({ shape: [2, 0] }), "dimension 1 is 0"],
    ["a dimension of 1.5", one({ shape: [1.5] }), "dimension 0 is 1.5"],
    ["five dimensions", one({ shape: [1, 1, 1, 1, 1] }), "5 dimensions"],
    ["2^53 weights", one({ shape: [2 ** 30, 2 ** 30] }), "too many"],
    ["an empty key", meta("", { type: "bool", value: true }), "is empty"],
    ["a key of 64 KiB", meta("k".repeat(65536), { type: "bool", value: true }), "above the limit"],
    ["an alignment of 48", meta("general.alignment", { type: "u32", value: 48 }), "not a power of two"],
    ["u8 256", meta("k", { type: "u8", value: 256 }), "metadata k: 256 is no unsigned integer of 8 bits"],
    ["i64 2^63", meta("k", { type: "i64", value: 2n ** 63n }), "no signed integer of 64 bits"],
    ["u32 0.5", meta("k", { type: "u32", value: 0.5 }), "0.5 is no unsigned"],
    [
      "two tensors of one name",
      { metadata: new Map(), tensors: [...one({}).tensors, ...one({}).tensors] },
      'repeats "w"',
    ],
  ];
  it.each(contents)("%s", async (_, bad, message) => {
    const writing = written(bad);
    await expect(writing).rejects.toThrow(UsageError);
    await expect(writing).rejects.toThrow(message);
  });

  it("nothing quietly: errors of the sink and of the data come through", async () => {
    const failing = async () => {
      throw new RangeError("sink");
    };
    await expect(writeGguf(failing, one({}))).rejects.toThrow("sink");
    const broken = () => {
      throw new RangeError("data");
    };
    await expect(written(one({ data: broken }))).rejects.toThrow("data");
  });
});
