import { describe, expect, it } from "vitest";
import { chunkBytes, quads, slotBits, topBits } from "../../src/quant/chunks.ts";
import { CHUNK } from "../../src/quant/formats.ts";

/** Where the definition puts a bit of the code of an input: byte of the chunk, and bit of the byte. */
function place(bits: number, input: number, bit: number): string {
  const slot = slotBits(bits);
  const [quad, i] = [Math.floor(input / 4), input % 4];
  for (let f = 0; f < 8 / slot; f++) {
    const inOrder = [0, 2, 4, 6, 1, 3, 5, 7].filter((n) => n < 8 / slot)[f] ?? 0;
    for (let j = 0; j < bits; j++) if (quad === f * bits + j) return `${4 * j + i}:${inOrder * slot + bit}`;
    for (let k = 0; k < slot - bits; k++)
      if (quad === (8 / slot) * (bits + k) + f) return `${4 * bit + i}:${f * slot + bits + k}`;
  }
  throw new Error(`input ${input} has no place`);
}

/** Where the quads say that it is. */
function found(bits: number, input: number, bit: number): string {
  const quad = quads(bits)[input >> 2];
  if (quad === undefined) throw new Error(`no quad of input ${input}`);
  const i = input % 4;
  return quad.kind === "together"
    ? `${4 * quad.word + i}:${quad.shift + bit}`
    : `${4 * bit + i}:${quad.slot + quad.spare}`;
}

const inputs = Array.from({ length: CHUNK }, (_, input) => input);

describe.each([1, 2, 3, 4, 5, 6, 7, 8])("chunks of %d bits", (bits) => {
  const all = inputs.flatMap((input) => Array.from({ length: bits }, (_, bit) => [input, bit] as const));

  it("have a place for every bit, and none for two", () => {
    expect(chunkBytes(bits)).toBe(4 * bits);
    expect(quads(bits)).toHaveLength(CHUNK / 4);
    expect(new Set(all.map(([input, bit]) => found(bits, input, bit))).size).toBe(32 * bits);
  });

  it("put each bit of an input where the definition says", () => {
    for (const [input, bit] of all) expect(found(bits, input, bit)).toBe(place(bits, input, bit));
  });

  it("know the top bits of codes", () => {
    for (let byte = 0; byte < 4 * bits; byte++) {
      const tops = inputs.map((input) =>
        found(bits, input, bits - 1)
          .split(":")
          .map(Number),
      );
      const own = tops.filter(([at]) => at === byte).reduce((sum, [, bit = 0]) => sum | (1 << bit), 0);
      expect(own).toBe(topBits(bits, byte >> 2));
    }
  });
});

it("nibbles are in GGUF's order: byte i has inputs i and 16 + i", () => {
  for (const input of inputs) expect(found(4, input, 0)).toBe(`${input % 16}:${input < 16 ? 0 : 4}`);
});
