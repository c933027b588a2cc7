import { describe, expect, it } from "vitest";
import { f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { GGML_TYPES } from "../../src/files/gguf-types.ts";
import { type BitField, blockOf, halfAt, writeFields } from "../../src/quant/blocks.ts";
import { FORMATS, type QuantizedFormat } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import { fileRowBytes, repackBlocks, repackingOf } from "../../src/quant/repacking.ts";
import { DECODERS } from "./gguf-decoders.ts";

const types = [...FORMATS.values()].filter(
  (format): format is QuantizedFormat => format.kind === "quantized" && format.name in GGML_TYPES,
);

/** The f16s of a block as it stands in a file. */
function halvesOf(format: QuantizedFormat): (readonly BitField[])[] {
  const repacking = repackingOf(format);
  if (repacking !== undefined) return [repacking.scale];
  const block = blockOf(format, 256);
  const halves = [block.halfScale, block.halfZero].flatMap((at) => (at === undefined ? [] : [halfAt(at)]));
  if (format.scale.kind === "half") halves.push(block.scale?.(0) ?? []);
  if (format.zero.kind === "minimum") halves.push(block.zero?.(0) ?? []);
  return halves;
}

/** Blocks of any bytes but for finite scales. */
function randomBlocks(format: QuantizedFormat, bytes: number, count: number, rng: Rng): Uint8Array[] {
  return Array.from({ length: count }, (_, n) => {
    const block = Uint8Array.from({ length: bytes }, () => rng.integer(256));
    for (const half of halvesOf(format)) {
      // Some are below the least normal number.
      writeFields(block, 0, half, n % 8 === 0 ? rng.integer(1024) : f32ToF16(rng.normal()));
    }
    if (format.scale.kind === "exponent") block[0] = 1 + rng.integer(254);
    return block;
  });
}

/** The weights of a block of a file. */
function weightsOf(format: QuantizedFormat, block: Uint8Array): number[] {
  const { weights, bytes } = blockOf(format, 256);
  const read = new Uint8Array(bytes).fill(0xa5);
  if (repackingOf(format) === undefined) read.set(block);
  else repackBlocks(format, block, read);
  return [...dequantizeRows(format, read, 1, weights)];
}

describe("blocks of GGUF's types mean what ggml says", () => {
  it("for every type in the table", () => {
    expect(types.map(({ name }) => name).filter((name) => !(name in DECODERS))).toEqual([]);
    expect(types.length).toBe(25);
  });

  it.each(types)("$name, random blocks and those with all bits set or clear", (format) => {
    const { weights } = blockOf(format, 256);
    const bytes = fileRowBytes(format, weights);
    const decode = DECODERS[format.name] as (block: Uint8Array) => number[];
    const [all, none] = [new Uint8Array(bytes).fill(0x3b), new Uint8Array(bytes)];
    for (const block of [...randomBlocks(format, bytes, 200, new Rng(7)), all, none]) {
      const found = weightsOf(format, block);
      const expected = decode(block);
      if (format.scale.kind === "exponent" && block[0] === 0) continue; // 2^-128, which counts as 0
      expect(found.map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
    }
  });
});
