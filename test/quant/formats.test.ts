import { describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/base/errors.ts";
import { GGML_TYPES } from "../../src/files/gguf-types.ts";
import { type BitField, bitsPerWeight, blockOf, halfAt, rowBytes } from "../../src/quant/blocks.ts";
import {
  chunkCount,
  FORMATS,
  familyFormat,
  formatNamed,
  groupsOfBlock,
  type QuantizedFormat,
  valueBits,
} from "../../src/quant/formats.ts";
import { fileRowBytes } from "../../src/quant/repacking.ts";
import { wholeBlocks } from "../kernels/matrices.ts";

const quantized = [...FORMATS.values()].filter((f): f is QuantizedFormat => f.kind === "quantized");

describe("the format table", () => {
  it.each([
    ["F32", 32],
    ["F16", 16],
    ["BF16", 16],
    ["Q4_0", 4.5],
    ["Q4_1", 5],
    ["Q8_0", 8.5],
    ["4bit-g128", 4.1875],
    ["4bit-g128-sym", 4.125],
    ["3bit-g64", 3.375],
    ["2bit-g32-sym", 2.5],
    ["8bit-row-sym", 8 + 16 / 4096],
    ["2bit-row", 2 + 24 / 4096],
    ["IQ1_S", 2.4375],
    ["IQ1_M", 3.3125],
    ["IQ2_XXS", 3.1875],
    ["IQ2_XS", 3.3125],
    ["IQ2_S", 3.3125],
    ["IQ3_XXS", 4.1875],
    ["IQ3_S", 4.1875],
    ["TQ1_0", 2.0625],
  ])("%s has %d bits per weight", (name, bits) => {
    expect(bitsPerWeight(formatNamed(name), 4096)).toBe(bits);
  });

  it("has GGUF's block sizes", () => {
    const sizes = ["Q4_0", "Q4_1", "Q8_0"].map((name) => rowBytes(formatNamed(name), 32));
    expect(sizes).toEqual([18, 20, 34]);
  });

  it.each(quantized)("$name: the zero point is a code", (format) => {
    if (format.zero.kind === "constant") expect(format.zero.value).toBeLessThan(2 ** valueBits(format));
  });

  it.each(quantized)(
    "$name: a row is its blocks, the last cut to the chunks it has where they are all alike",
    (format) => {
      for (const wanted of [1, 31, 32, 33, 127, 128, 172, 4096]) {
        const cols = wholeBlocks(format, wanted);
        const { bytes, weights, chunkBytes = 0 } = blockOf(format, cols);
        const blocks = Math.ceil(cols / weights);
        const missing = chunkCount(blocks * weights) - chunkCount(cols);
        expect(rowBytes(format, cols)).toBe(blocks * bytes - missing * chunkBytes);
      }
    },
  );

  it.each(quantized)("$name: every bit of a block means one thing", (format) => {
    const cols = format.group === "row" ? 96 : 512;
    const block = blockOf(format, cols);
    const uses = new Uint8Array(8 * block.bytes);
    const use = (fields: readonly BitField[] = []) => {
      for (const { byte, shift, bits } of fields)
        for (let bit = 0; bit < bits; bit++) uses[8 * byte + shift + bit]!++;
    };
    for (let k = 0; k < block.weights; k++) use(block.code(k));
    for (let g = 0; g < groupsOfBlock(format, cols); g++) {
      use(block.scale?.(g));
      use(block.zero?.(g));
    }
    for (const half of [block.halfScale, block.halfZero]) if (half !== undefined) use(halfAt(half));
    expect([...uses].every((count) => count === 1)).toBe(true);
  });

  it.each(quantized)("$name has the size of GGUF's type of that name", (format) => {
    const type = (GGML_TYPES as Readonly<Record<string, { weights: number; bytes: number }>>)[format.name];
    if (type !== undefined) expect(fileRowBytes(format, 4 * type.weights)).toBe(4 * type.bytes);
  });

  it("finds formats by name in any case, and names the known ones", () => {
    expect(formatNamed("q4_0")).toBe(FORMATS.get("Q4_0"));
    expect(formatNamed("4BIT-G128-SYM")).toBe(FORMATS.get("4bit-g128-sym"));
    expect(() => formatNamed("Q9_9")).toThrow(/Q9_9.*Q4_0/);
    expect(() => formatNamed("Q9_9")).toThrow(UnsupportedError);
  });

  it.each([
    [5, 32],
    [4, 48],
    [4, 0],
    [4, 8],
  ])("refuses %d bits in groups of %d", (bits, group) => {
    expect(() => familyFormat(bits, group, true)).toThrow(UnsupportedError);
  });
});
