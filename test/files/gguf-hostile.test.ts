import { describe, expect, it } from "vitest";
import { FileFormatError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readGguf } from "../../src/files/gguf.ts";
import { GGML_TYPES } from "../../src/files/gguf-types.ts";
import { GGUF_LIMITS, GGUF_TYPE_IDS as ID } from "../../src/files/gguf-values.ts";
import { memorySource } from "../../src/files/source.ts";
import { openFile } from "../../src/host/node-files.ts";
import { RawGguf, shared } from "./gguf-fixtures.ts";
import { outcomeOf } from "./outcome.ts";

const MODELS = ["models/stories260K/stories260K.gguf", "models/tales/tales-5.8m-f16.gguf"];
const FLIPS = 1000;

const parse = (bytes: Uint8Array) => readGguf(memorySource("bad.gguf", bytes));

async function load(path: string): Promise<{ bytes: Uint8Array; dataOffset: number }> {
  const source = await openFile(path);
  const bytes = await source.read(0, source.size);
  const { dataOffset } = await readGguf(source);
  await source.close();
  return { bytes, dataOffset };
}

const outcome = (bytes: Uint8Array) => outcomeOf(() => parse(bytes));

describe.each(MODELS)("%s", (path) => {
  it("cut at every 1/64 of the header and of the file", async (context) => {
    const { bytes, dataOffset } = await load(shared(context, path));
    for (const whole of [dataOffset, bytes.length]) {
      for (let part = 0; part < 64; part++) {
        const cut = bytes.subarray(0, Math.floor((whole * part) / 64));
        expect(await outcome(cut)).toBeInstanceOf(FileFormatError);
      }
    }
  });

  it(`${FLIPS} times with random bytes changed in the header`, async (context) => {
    const { bytes, dataOffset } = await load(shared(context, path));
    const rng = new Rng(5);
    const before = process.memoryUsage().rss;
    let accepted = 0;
    for (let i = 0; i < FLIPS; i++) {
      const front = bytes.slice(0, dataOffset);
      // Most of a header is token strings, where anything goes: half of the changes go to the front.
      const span = i % 2 === 0 ? dataOffset : 2048;
      for (let n = 1 + rng.integer(4); n > 0; n--) bytes[rng.integer(span)] = rng.integer(256);
      if ((await outcome(bytes)) === "accepted") accepted++;
      bytes.set(front);
    }
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(FLIPS);
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });

  it("with each count and length in the tensor list at the extremes", async (context) => {
    const { bytes, dataOffset } = await load(shared(context, path));
    const tail = Math.max(0, dataOffset - 1024);
    for (let offset = tail; offset < dataOffset - 8; offset++) {
      const kept = bytes.slice(offset, offset + 8);
      bytes.fill(0xff, offset, offset + 8);
      await outcome(bytes);
      bytes.set(kept, offset);
    }
  });
});

const F32 = GGML_TYPES.F32.id;
const HUGE = [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

describe("absurd counts and lengths", () => {
  it.each(HUGE)("%s", async (huge) => {
    const files: [string, Uint8Array][] = [
      ["tensor count", new RawGguf(huge, 0).file()],
      ["metadata count", new RawGguf(0, huge).file()],
      ["both counts", new RawGguf(huge, huge).file(1 << 16)],
      ["dimension", new RawGguf(1, 0).tensor("w", [huge], F32, 0).file(64)],
      ["product", new RawGguf(1, 0).tensor("w", [2 ** 31, 2 ** 31, huge], F32, 0).file(64)],
      ["offset", new RawGguf(1, 0).tensor("w", [1], F32, huge - (huge % 32n)).file(64)],
    ];
    const lengths = (at: (raw: RawGguf) => void) => {
      const raw = new RawGguf(0, 1);
      at(raw);
      return raw.file(1 << 16);
    };
    files.push(["key length", lengths((raw) => raw.u64(huge))]);
    files.push(["string length", lengths((raw) => raw.key("k", ID.string).u64(huge))]);
    for (const of of Object.values(ID)) {
      files.push([`array of ${of}`, lengths((raw) => raw.key("k", ID.array).array(of, huge))]);
    }
    files.push(["inner string", lengths((raw) => raw.key("k", ID.array).array(ID.string, 1).u64(huge))]);
    for (const [what, bytes] of files) {
      expect(await outcome(bytes), what).toBeInstanceOf(FileFormatError);
    }
  });

  it("a product of dimensions that is 0 modulo 2^64", async () => {
    const bytes = new RawGguf(1, 0).tensor("w", [2 ** 32, 2 ** 32], F32, 0).file(64);
    await expect(parse(bytes)).rejects.toThrow(`tensor "w": ${2n ** 64n} weights`);
  });
});

describe("names the field that is wrong", () => {
  const array = (of: number, length: number) => new RawGguf(0, 1).key("k", ID.array).array(of, length);
  const aligned = (value: number) => {
    const raw = new RawGguf(0, 1).key("general.alignment", ID.u32);
    raw.u32(value);
    return raw.file();
  };
  const repeated = new RawGguf(0, 2);
  repeated.key("k", ID.bool).u8(1);
  repeated.key("k", ID.bool).u8(1);
  const deep = array(ID.array, 1);
  for (let i = 0; i < 100; i++) deep.array(ID.array, 1);
  const pair = (second: number) => new RawGguf(2, 0).tensor("a", [16], F32, 0).tensor("b", [16], F32, second);

  const cases: [string, Uint8Array, string][] = [
    ["a repeated key", repeated.file(), 'metadata key 2 of 2: repeats "k"'],
    ["an empty key", new RawGguf(0, 1).key("", ID.bool).file(9), "metadata key 1 of 1: is empty"],
    ["a metadata type", new RawGguf(0, 1).key("k", 13).file(9), 'metadata "k": has metadata type 13'],
    ["an element type", array(77, 0).file(9), 'metadata "k": has metadata type 77'],
    ["an array past the end", array(ID.u32, 100).file(64), "an array of 100 × u32 cannot fit"],
    ["arrays without end", deep.file(), "nested more than 4 deep"],
    ["many small arrays", array(ID.array, 20000).file(1 << 20), "more than 16384 arrays within arrays"],
    ["no alignment", aligned(0), "general.alignment: is 0, not from 1"],
    ["an odd alignment", aligned(48), "general.alignment: is 48, not a power of two"],
    ["a large alignment", aligned(2 ** 31), "general.alignment: is 2147483648, not from 1 to 16777216"],
    [
      "a repeated tensor",
      new RawGguf(2, 0).tensor("w", [1], F32, 0).tensor("w", [1], F32, 32).file(64),
      'repeats "w"',
    ],
    ["five dimensions", new RawGguf(1, 0).tensor("w", [1, 1, 1, 1, 1], F32, 0).file(64), "has 5 dimensions"],
    [
      "a dimension of 0",
      new RawGguf(1, 0).tensor("w", [4, 0], F32, 0).file(64),
      'tensor "w": dimension 1 is 0',
    ],
    [
      "half a block",
      new RawGguf(1, 0).tensor("w", [48], GGML_TYPES.Q4_K.id, 0).file(64),
      "no multiple of Q4_K's 256",
    ],
    [
      "half a block of a codebook type",
      new RawGguf(1, 0).tensor("w", [384], GGML_TYPES.IQ2_XXS.id, 0).file(128),
      "no multiple of IQ2_XXS's 256",
    ],
    [
      "an offset between",
      new RawGguf(1, 0).tensor("w", [4], F32, 4).file(64),
      "its offset 4 is no multiple of 32",
    ],
    ["data past the end", new RawGguf(1, 0).tensor("w", [16], F32, 32).file(64), "pass the end of the file"],
    ["overlapping data", pair(32).file(256), 'tensor "b": its data overlaps that of tensor "a"'],
    ["the same data", pair(0).file(256), "overlaps"],
    ["version 0", new RawGguf(0, 0, 0).file(), "version: is 0"],
    ["version 2^31", new RawGguf(0, 0, 0x80000001).file(), "version: is 2147483649"],
    [
      "a long name",
      new RawGguf(1, 0).tensor("w".repeat(1025), [1], F32, 0).file(64),
      "is 1025, above the limit",
    ],
  ];
  it.each(cases)("%s", async (_, bytes, message) => {
    const error = await outcome(bytes);
    expect(error).toBeInstanceOf(FileFormatError);
    expect(String(error)).toContain(`bad.gguf: `);
    expect(String(error)).toContain(message);
  });

  it("and lets adjacent tensors be", async () => {
    expect(await outcome(pair(64).file(128))).toBe("accepted");
  });

  it("without passing on control codes, or names without end", async () => {
    const name = `\u001b[31m\u009b\u202e${"x".repeat(900)}`;
    const error = await outcome(new RawGguf(1, 0).tensor(name, [0], F32, 0).file(64));
    expect(String(error)).toContain('tensor "\\u001b[31m\\u009b\\u202exxx');
    expect(String(error).length).toBeLessThan(300);
  });
});

describe("what is no GGUF file says what it looks like", () => {
  const starts: [string, string | Uint8Array, string][] = [
    ["nothing", "", "the file is empty"],
    ["zeros", new Uint8Array(4096), "unfinished download"],
    ["HTML", "\n<!DOCTYPE html><html><body>Sign in</body></html>", "looks like a web page"],
    ["Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS pointer"],
    ["GGML", "tjgg\u0001\0\0\0", "before GGUF"],
    ["safetensors", '\u0010\0\0\0\0\0\0\0{"__metadata__":{}}', "safetensors"],
    ["PyTorch", "PK\u0003\u0004", "zip archive"],
    ["gzip", Uint8Array.of(0x1f, 0x8b, 8, 0), "gzip"],
    ["JSON", '{"architectures": []}', "JSON"],
    ["noise", Uint8Array.of(0xde, 0xad, 0xbe, 0xef), "it starts with de ad be ef"],
    ["lower case", "gguf\u0003\0\0\0", 'it starts with 67 67 75 66 03 00 00 00 ("gguf'],
  ];
  it.each(starts)("%s", async (_, start, message) => {
    const bytes = typeof start === "string" ? new TextEncoder().encode(start) : start;
    const error = await outcome(bytes);
    expect(error).toBeInstanceOf(FileFormatError);
    expect(String(error)).toContain("bad.gguf: magic: this is not a GGUF file");
    expect(String(error)).toContain(message);
  });
});

it("the limits are numbers that counting cannot pass", () => {
  for (const limit of Object.values(GGUF_LIMITS)) expect(Number.isSafeInteger(limit)).toBe(true);
});
