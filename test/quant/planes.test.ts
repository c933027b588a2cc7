import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CHUNK } from "../../src/quant/formats.ts";
import {
  packChunk,
  packChunkInto,
  planesBytes,
  unpackChunk,
  unpackChunkInto,
} from "../../src/quant/planes.ts";

const LAYOUTS = [[1], [2], [4], [8], [2, 1], [4, 1], [4, 2], [4, 2, 1]] as const;

const bytes = (length: number, max = 255) => fc.uint8Array({ minLength: length, maxLength: length, max });

describe.each(LAYOUTS.map((planes) => ({ planes, name: planes.join(" + ") })))(
  "planes $name",
  ({ planes }) => {
    const bits = planes.reduce<number>((sum, width) => sum + width, 0);

    it("store every chunk of codes, and every content of the bytes is one", () => {
      expect(planesBytes(planes)).toBe(4 * bits);
      fc.assert(
        fc.property(bytes(CHUNK, 2 ** bits - 1), bytes(4 * bits), (codes, stored) => {
          expect(unpackChunk(packChunk(codes, planes), planes)).toEqual(codes);
          expect(packChunk(unpackChunk(stored, planes), planes)).toEqual(stored);
        }),
      );
    });

    it("put each bit of input f · 4w + i into field f of byte i of its plane", () => {
      for (let input = 0; input < CHUNK; input++) {
        for (let bit = 0; bit < bits; bit++) {
          const codes = new Uint8Array(CHUNK);
          codes[input] = 1 << bit;
          const expected = new Uint8Array(4 * bits);
          let low = 0;
          for (const width of planes) {
            if (bit >= low && bit < low + width) {
              const field = Math.floor(input / (4 * width));
              expected[4 * low + (input % (4 * width))] = 1 << (field * width + bit - low);
            }
            low += width;
          }
          expect(packChunk(codes, planes)).toEqual(expected);
        }
      }
    });

    it("touch only their own chunk", () => {
      const codes = Uint8Array.from({ length: 3 * CHUNK }, (_, i) => i % 2 ** bits);
      const stored = new Uint8Array(4 * bits + 2).fill(0xa5);
      packChunkInto(codes, CHUNK, planes, stored, 1);
      expect([stored[0], stored.at(-1)]).toEqual([0xa5, 0xa5]);
      const back = new Uint8Array(3 * CHUNK).fill(0xff);
      unpackChunkInto(stored, 1, planes, back, CHUNK);
      expect(back.subarray(CHUNK, 2 * CHUNK)).toEqual(codes.subarray(CHUNK, 2 * CHUNK));
      expect([...back.subarray(0, CHUNK), ...back.subarray(2 * CHUNK)].every((code) => code === 0xff)).toBe(
        true,
      );
    });
  },
);

it("nibbles are in GGUF's order: byte i has inputs i and 16 + i", () => {
  const codes = Uint8Array.from({ length: CHUNK }, (_, i) => (i < 16 ? i : 31 - i));
  const expected = Uint8Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
  expect(packChunk(codes, [4])).toEqual(expected);
});
