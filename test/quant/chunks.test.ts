import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  chunkBytes,
  packChunk,
  packChunkInto,
  quads,
  slotBits,
  topBits,
  unpackChunk,
  unpackChunkInto,
} from "../../src/quant/chunks.ts";
import { CHUNK } from "../../src/quant/formats.ts";

const bytes = (length: number, max = 255) => fc.uint8Array({ minLength: length, maxLength: length, max });

/** Where the definition puts a bit of the code of an input: byte of the chunk, and bit of the byte. */
function place(bits: number, input: number, bit: number): { byte: number; bit: number } {
  const slot = slotBits(bits);
  const [quad, i] = [Math.floor(input / 4), input % 4];
  for (let f = 0; f < 8 / slot; f++) {
    const inOrder = [0, 2, 4, 6, 1, 3, 5, 7].filter((n) => n < 8 / slot)[f] ?? 0;
    for (let j = 0; j < bits; j++)
      if (quad === f * bits + j) return { byte: 4 * j + i, bit: inOrder * slot + bit };
    for (let k = 0; k < slot - bits; k++)
      if (quad === (8 / slot) * (bits + k) + f) return { byte: 4 * bit + i, bit: f * slot + bits + k };
  }
  throw new Error(`input ${input} has no place`);
}

describe.each([1, 2, 3, 4, 5, 6, 7, 8])("chunks of %d bits", (bits) => {
  it("store every 32 codes, and every content of the bytes is one", () => {
    expect(chunkBytes(bits)).toBe(4 * bits);
    fc.assert(
      fc.property(bytes(CHUNK, 2 ** bits - 1), bytes(4 * bits), (codes, stored) => {
        expect(unpackChunk(packChunk(codes, bits), bits)).toEqual(codes);
        expect(packChunk(unpackChunk(stored, bits), bits)).toEqual(stored);
      }),
    );
  });

  it("put each bit of an input where the definition says", () => {
    for (let input = 0; input < CHUNK; input++) {
      for (let bit = 0; bit < bits; bit++) {
        const codes = new Uint8Array(CHUNK);
        codes[input] = 1 << bit;
        const at = place(bits, input, bit);
        const expected = new Uint8Array(4 * bits);
        expected[at.byte] = 1 << at.bit;
        expect(packChunk(codes, bits)).toEqual(expected);
      }
    }
  });

  it("keep four inputs in the same bits of the four bytes of words", () => {
    expect(quads(bits)).toHaveLength(CHUNK / 4);
    const tops = packChunk(new Uint8Array(CHUNK).fill(2 ** (bits - 1)), bits);
    for (let byte = 0; byte < 4 * bits; byte++) expect(tops[byte]).toBe(topBits(bits, byte >> 2));
  });

  it("touch only their own chunk, and only the bits of a code", () => {
    const codes = Uint8Array.from({ length: 3 * CHUNK }, (_, i) => i % 2 ** bits);
    const stored = new Uint8Array(4 * bits + 2).fill(0xa5);
    packChunkInto(
      codes.map((code) => code + (bits < 8 ? 2 ** bits : 0)),
      CHUNK,
      bits,
      stored,
      1,
    );
    expect([stored[0], stored.at(-1)]).toEqual([0xa5, 0xa5]);
    const back = new Uint8Array(3 * CHUNK).fill(0xff);
    unpackChunkInto(stored, 1, bits, back, CHUNK);
    expect(back.subarray(CHUNK, 2 * CHUNK)).toEqual(codes.subarray(CHUNK, 2 * CHUNK));
    expect([...back.subarray(0, CHUNK), ...back.subarray(2 * CHUNK)].every((code) => code === 0xff)).toBe(
      true,
    );
  });
});

it("nibbles are in GGUF's order: byte i has inputs i and 16 + i", () => {
  const codes = Uint8Array.from({ length: CHUNK }, (_, i) => (i < 16 ? i : 31 - i));
  const expected = Uint8Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
  expect(packChunk(codes, 4)).toEqual(expected);
});

it("codes of 3 bits: two in a byte, the seventh and eighth quads in bits 3 and 7 of three", () => {
  const [one, last] = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)];
  one.set([7, 5], 0);
  one[12] = 6;
  expect([...packChunk(one, 3)]).toEqual([0x67, 5, ...Array(10).fill(0)]);
  last[24] = 0b101;
  last[31] = 0b011;
  expect([...packChunk(last, 3)]).toEqual([8, 0, 0, 0x80, 0, 0, 0, 0x80, 8, 0, 0, 0]);
});
