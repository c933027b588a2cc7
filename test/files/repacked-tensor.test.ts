import { expect, test } from "vitest";
import { f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { ggufTensor } from "../../src/files/repacked-tensor.ts";
import { memorySource } from "../../src/files/source.ts";
import { rowBytes, writeFields } from "../../src/quant/blocks.ts";
import { formatNamed, type QuantizedFormat } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import { fileRowBytes, type Repacking, repackingOf } from "../../src/quant/repacking.ts";
import { DECODERS } from "../quant/gguf-decoders.ts";

const COLS = 4096;
/** More than are re-packed at once. */
const ROWS = 700;
/** Where the tensor begins in its file. */
const OFFSET = 64;

test.each(["IQ1_S", "IQ1_M", "IQ3_S", "TQ1_0"])("rows of %s, from any row on", async (type) => {
  const format = formatNamed(type) as QuantizedFormat;
  const { bytes: blockBytes, scale } = repackingOf(format) as Repacking;
  const [stored, read] = [fileRowBytes(format, COLS), rowBytes(format, COLS)];
  const rng = new Rng(3);
  const file = Uint8Array.from({ length: OFFSET + ROWS * stored }, () => rng.integer(256));
  for (let at = OFFSET; at < file.length; at += blockBytes) writeFields(file, at, scale, f32ToF16(1));
  const source = memorySource("model.gguf", file);
  const tensor = ggufTensor("w", type, [COLS, ROWS], source, OFFSET, ROWS * stored);
  const all = new Uint8Array(ROWS * read);
  await tensor.readRows(0, all);
  const some = new Uint8Array(3 * read);
  await tensor.readRows(600, some);
  expect(Buffer.compare(some, all.subarray(600 * read, 603 * read))).toBe(0);
  for (const row of [0, 1, 602, ROWS - 1]) {
    const weights = dequantizeRows(format, all.subarray(row * read, (row + 1) * read), 1, COLS);
    for (let block = 0; block < COLS / 256; block++) {
      const at = OFFSET + row * stored + block * blockBytes;
      const expected = DECODERS[type]?.(file.subarray(at, at + blockBytes)).map((w) => w + 0);
      expect([...weights.subarray(256 * block, 256 * (block + 1))].map((w) => w + 0)).toEqual(expected);
    }
  }
});

test("a tensor of any other type is read as it is", async () => {
  const file = Uint8Array.from({ length: 36 }, (_, i) => i);
  const tensor = ggufTensor("w", "Q4_0", [32, 2], memorySource("model.gguf", file), 0, 36);
  const row = new Uint8Array(18);
  await tensor.readRows(1, row);
  expect(row).toEqual(file.subarray(18));
});
