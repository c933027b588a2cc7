import { describe, expect, test } from "vitest";
import { type Block, blockOf } from "../../src/quant/blocks.ts";
import { chunkPeriod } from "../../src/quant/chunk-period.ts";
import { CHUNK, chunkCount, FORMATS } from "../../src/quant/formats.ts";

const COLS = 1024;
const formats = [...FORMATS.values()].filter((format) => format.kind === "quantized");

/** Where code `k` is, by the period of the block. */
function moved(block: Block, k: number) {
  const { chunks, moves } = chunkPeriod(block);
  const turn = Math.floor(k / (CHUNK * chunks));
  return block.code(k % (CHUNK * chunks)).map(({ byte, shift, bits }, f) => {
    const by = moves[f] ?? { bytes: Number.NaN, bits: Number.NaN };
    return { byte: byte + turn * by.bytes, shift: shift + turn * by.bits, bits };
  });
}

describe("the period of a block", () => {
  test.each(formats.map((format) => [format.name, blockOf(format, COLS)] as const))("of %s", (_, block) => {
    expect(chunkCount(block.weights) % chunkPeriod(block).chunks).toBe(0);
    for (let k = 0; k < block.weights; k++) expect(moved(block, k)).toEqual(block.code(k));
  });

  test.each([
    ["Q4_0", 1],
    ["Q2_K", 4],
    ["Q4_K", 2],
    ["Q5_K", 2],
    ["Q6_K", 4],
    ["3bit-g128", 1],
  ])("of %s is %i", (name, chunks) => {
    const format = formats.find((known) => known.name === name);
    expect(format && chunkPeriod(blockOf(format, COLS)).chunks).toBe(chunks);
  });

  test("is all chunks where they have nothing in common", () => {
    const code = (k: number) => [{ byte: (k * k) % 97, shift: 0, bits: 8 }];
    expect(chunkPeriod({ weights: 256, bytes: 97, code })).toEqual({
      chunks: 8,
      moves: [{ bytes: 0, bits: 0 }],
    });
  });

  test("moves bits up, never down", () => {
    const code = (k: number) => [{ byte: k & 31, shift: 1 - (k >> 5), bits: 1 }];
    expect(chunkPeriod({ weights: 64, bytes: 32, code }).chunks).toBe(2);
  });
});
