import { describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/base/errors.ts";
import {
  bitsPerWeight,
  blockLayout,
  chunkCount,
  FORMATS,
  familyFormat,
  formatNamed,
  groupCount,
  type QuantizedFormat,
  rowBytes,
} from "../../src/quant/formats.ts";

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
  ])("%s has %d bits per weight", (name, bits) => {
    expect(bitsPerWeight(formatNamed(name), 4096)).toBe(bits);
  });

  it("has GGUF's block sizes", () => {
    const sizes = ["Q4_0", "Q4_1", "Q8_0"].map((name) => rowBytes(formatNamed(name), 32));
    expect(sizes).toEqual([18, 20, 34]);
  });

  it.each(quantized)("$name: the zero point is a code", (format) => {
    if (format.zero.kind === "constant") expect(format.zero.value).toBe(2 ** (format.bits - 1));
  });

  it.each(quantized)("$name: a row is its blocks, the last cut to the chunks it has", (format) => {
    for (const cols of [1, 31, 32, 33, 127, 128, 172, 4096]) {
      const { codesAt, chunkBytes, blockBytes, rowBytes: bytes } = blockLayout(format, cols);
      const before = (groupCount(format, cols) - 1) * blockBytes;
      const chunksBefore = (groupCount(format, cols) - 1) * ((blockBytes - codesAt) / chunkBytes);
      expect(bytes).toBe(before + codesAt + (chunkCount(cols) - chunksBefore) * chunkBytes);
      expect(bytes).toBeLessThanOrEqual(before + blockBytes);
    }
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
    [4, 16],
  ])("refuses %d bits in groups of %d", (bits, group) => {
    expect(() => familyFormat(bits, group, true)).toThrow(UnsupportedError);
  });
});
