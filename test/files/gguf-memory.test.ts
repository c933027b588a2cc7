import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { QigenError } from "../../src/base/errors.ts";
import { readGguf } from "../../src/files/gguf.ts";
import { GGUF_LIMITS, GGUF_TYPE_IDS as ID } from "../../src/files/gguf-values.ts";
import { endlessSource, RawGguf } from "./gguf-fixtures.ts";

// Files of 2^45 bytes that are a header as far as one can see: what they may cost before they are refused.

const FILE_BYTES = 2 ** 45;
const MOST_BYTES = 200e6;

function start(build: (raw: RawGguf) => void, entries = 1): Uint8Array {
  const raw = new RawGguf(0, entries);
  build(raw);
  return raw.file();
}

const bytesOf = (build: (raw: RawGguf) => void) => start(build).subarray(24);

const strings = (length: number, text: string): [Uint8Array, Uint8Array] => [
  start((raw) => raw.key("k", ID.array).array(ID.string, length), 60000),
  bytesOf((raw) => raw.string(text)),
];

/** Metadata strings of invalid UTF-8: each byte becomes a character of two bytes. */
function manyStrings(count: number, byteLength: number): Uint8Array {
  return start((raw) => {
    for (let i = 0; i < count; i++) {
      raw.key(`k${i}`, ID.string).u64(BigInt(byteLength));
      raw.raw(new Uint8Array(byteLength).fill(0xff));
    }
  }, count);
}

const files: [string, Uint8Array, Uint8Array][] = [
  ["2^21 strings of 2 bytes and then nonsense", ...strings(GGUF_LIMITS.arrayStrings, "ab")],
  ["2^21 strings of 8 bytes that are not Latin-1", ...strings(GGUF_LIMITS.arrayStrings, "π≈…")],
  [
    "strings of 16 bytes as far as the limit of the header",
    ...strings(GGUF_LIMITS.arrayStrings, "a".repeat(16)),
  ],
  ["strings of 3 MiB that become twice as long", manyStrings(15, 3 << 20), new Uint8Array(8)],
  [
    "numbers in the largest arrays",
    start((raw) => raw.key("k", ID.array).array(ID.u64, GGUF_LIMITS.arrayLength), 60000),
    new Uint8Array(8),
  ],
  [
    "empty arrays",
    start((raw) => raw.key("k", ID.array).array(ID.array, GGUF_LIMITS.nestedArrays)),
    bytesOf((raw) => raw.array(ID.u64, 0)),
  ],
  [
    "keys as far as their number goes",
    start((raw) => {
      for (let i = 0; i < GGUF_LIMITS.metadataEntries; i++) raw.key(`key ${i}`, ID.array).array(ID.u64, 0);
    }, GGUF_LIMITS.metadataEntries),
    new Uint8Array(8),
  ],
];

/** Bytes on the heap and in buffers, whether still in use or not yet collected. */
function memory(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Twice: buffers are given back behind a collection, not in it. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  for (let i = 0; i < 2; i++) {
    collect();
    await new Promise(setImmediate);
  }
}

it.each(files)("%s", async (_, head, pattern) => {
  await collectGarbage();
  const before = memory();
  let most = before;
  const source = endlessSource(FILE_BYTES, head, pattern, () => {
    most = Math.max(most, memory());
  });
  const began = performance.now();
  const result: unknown = await readGguf(source).catch((error: unknown) => error);
  const milliseconds = performance.now() - began;
  most = Math.max(most, memory());
  if (result instanceof Error) {
    expect(result).toBeInstanceOf(QigenError);
    expect(milliseconds).toBeLessThan(1000);
  }
  expect(source.bytesRead).toBeLessThan(2 * GGUF_LIMITS.headerBytes + (8 << 20));
  expect(most - before).toBeLessThan(MOST_BYTES);
});
