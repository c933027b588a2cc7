import { describe, expect, it } from "vitest";
import { f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { GGML_TYPES } from "../../src/files/gguf-types.ts";
import { blockOf } from "../../src/quant/blocks.ts";
import { FORMATS, type QuantizedFormat } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import { DECODERS } from "./gguf-decoders.ts";

const types = [...FORMATS.values()].filter(
  (format): format is QuantizedFormat => format.kind === "quantized" && format.name in GGML_TYPES,
);

/** Blocks of any bytes but for finite scales. */
function randomBlocks(format: QuantizedFormat, count: number, rng: Rng): Uint8Array[] {
  const block = blockOf(format, 256);
  return Array.from({ length: count }, () => {
    const bytes = Uint8Array.from({ length: block.bytes }, () => rng.integer(256));
    const halves = [block.halfScale, block.halfZero];
    if (format.scale.kind === "half") halves.push(block.scale?.(0)[0]?.byte);
    if (format.zero.kind === "minimum") halves.push(block.zero?.(0)[0]?.byte);
    for (const at of halves) {
      if (at === undefined) continue;
      const bits = f32ToF16(rng.normal());
      bytes.set([bits & 255, bits >> 8], at);
    }
    if (format.scale.kind === "exponent") bytes[0] = 1 + rng.integer(254);
    return bytes;
  });
}

describe("blocks of GGUF's types mean what ggml says", () => {
  it("for every type in the table", () => {
    expect(types.map(({ name }) => name).filter((name) => !(name in DECODERS))).toEqual([]);
    expect(types.length).toBeGreaterThanOrEqual(17);
  });

  it.each(types)("$name, random blocks and those with all bits set or clear", (format) => {
    const { weights, bytes } = blockOf(format, 256);
    const decode = DECODERS[format.name] as (block: Uint8Array) => number[];
    const [all, none] = [new Uint8Array(bytes).fill(0x3b), new Uint8Array(bytes)];
    for (const block of [...randomBlocks(format, 200, new Rng(7)), all, none]) {
      const found = [...dequantizeRows(format, block, 1, weights)];
      const expected = decode(block);
      if (format.scale.kind === "exponent" && block[0] === 0) continue; // 2^-128, which counts as 0
      expect(found.map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
    }
  });
});
