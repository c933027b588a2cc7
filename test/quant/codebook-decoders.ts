/*
 * Blocks of the codebook types → their weights, from ggml's definitions as in `gguf-decoders.ts`. The points of the codebooks
 * are the product's, whose hashes `codebooks.test.ts` compares with ggml's tables.
 */

import { f16ToF32 } from "../../src/base/float16.ts";
import { type CodebookName, codebookPoints } from "../../src/quant/codebooks.ts";

const f32 = Math.fround;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** The values of the points of each codebook. */
export const CODEBOOK_VALUES: Readonly<Record<CodebookName, readonly number[]>> = {
  IQ1: [-1, 0, 1],
  IQ2_XXS: [8, 25, 43],
  IQ2_XS: [8, 25, 43],
  IQ2_S: [8, 25, 43],
  IQ3_XXS: [4, 12, 20, 28, 36, 44, 52, 62],
  IQ3_S: [1, 3, 5, 7, 9, 11, 13, 15],
};

/** The weights of every point of a codebook. */
export function codebook(name: CodebookName): number[][] {
  const values = CODEBOOK_VALUES[name];
  const bits = values.length === 3 ? 2 : 3;
  const weights = values.length === 3 ? 8 : 4;
  return [...codebookPoints(name)].map((point) =>
    range(weights).map((i) => values[(point >> (bits * i)) & (2 ** bits - 1)] as number),
  );
}

const GRIDS = new Map<CodebookName, number[][]>();

function point(name: CodebookName, n: number): number[] {
  if (!GRIDS.has(name)) GRIDS.set(name, codebook(name));
  return GRIDS.get(name)?.[n] as number[];
}

/** Seven signs, and the eighth that makes the number of negative ones even. */
const eightSigns = (seven: number) => {
  const ones = range(7).filter((j) => (seven >> j) & 1).length;
  return seven | ((ones % 2) << 7);
};
const sign = (signs: number, j: number) => ((signs >> j) & 1 ? -1 : 1);
const nibble = (byte: number, n: number) => (n === 0 ? byte & 15 : byte >> 4);

/** A block as numbers of 8, 16 and 32 bits. */
function reader(b: Uint8Array) {
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  return {
    u8: (at: number) => view.getUint8(at),
    u16: (at: number) => view.getUint16(at, true),
    u32: (at: number) => view.getUint32(at, true),
    d: (at: number) => f16ToF32(view.getUint16(at, true)),
  };
}

type Reader = ReturnType<typeof reader>;

/** The weights of a block by what it says of its eights of weights: `of(r, ib, l)` for eight `l` of the 32 number `ib`. */
const eights = (of: (r: Reader, ib: number, l: number) => number[]) => (b: Uint8Array) => {
  const r = reader(b);
  return range(8).flatMap((ib) => range(4).flatMap((l) => of(r, ib, l)));
};

const signed = (db: number, values: readonly number[], signs: number) =>
  values.map((value, j) => f32(f32(db * value) * sign(signs, j)));

export const CODEBOOK_DECODERS: Readonly<Record<string, (block: Uint8Array) => number[]>> = {
  IQ2_XXS: eights((r, ib, l) => {
    const word = r.u32(2 + 8 * ib + 4);
    const db = f32(r.d(0) * (0.5 + (word >>> 28))) * 0.25;
    return signed(db, point("IQ2_XXS", r.u8(2 + 8 * ib + l)), eightSigns((word >>> (7 * l)) & 127));
  }),
  IQ2_XS: eights((r, ib, l) => {
    const q = r.u16(2 + 2 * (4 * ib + l));
    const db = f32(r.d(0) * (0.5 + nibble(r.u8(66 + ib), l >> 1))) * 0.25;
    return signed(db, point("IQ2_XS", q & 511), eightSigns(q >> 9));
  }),
  IQ2_S: eights((r, ib, l) => {
    const n = r.u8(2 + 4 * ib + l) + 256 * ((r.u8(66 + ib) >> (2 * l)) & 3);
    const db = f32(r.d(0) * (0.5 + nibble(r.u8(74 + ib), l >> 1))) * 0.25;
    return signed(db, point("IQ2_S", n), r.u8(34 + 4 * ib + l));
  }),
  IQ3_XXS: eights((r, ib, l) => {
    const word = r.u32(66 + 4 * ib);
    const db = f32(r.d(0) * (0.5 + (word >>> 28))) * 0.5;
    const values = [0, 1].flatMap((half) => point("IQ3_XXS", r.u8(2 + 8 * ib + 2 * l + half)));
    return signed(db, values, eightSigns((word >>> (7 * l)) & 127));
  }),
  IQ3_S: eights((r, ib, l) => {
    const db = f32(r.d(0) * (1 + 2 * nibble(r.u8(106 + (ib >> 1)), ib & 1)));
    const values = [0, 1].flatMap((half) => {
      const ninth = (r.u8(66 + ib) >> (2 * l + half)) & 1;
      return point("IQ3_S", r.u8(2 + 8 * ib + 2 * l + half) + 256 * ninth);
    });
    return signed(db, values, r.u8(74 + 4 * ib + l));
  }),
  IQ1_S: eights((r, ib, l) => {
    const qh = r.u16(34 + 2 * ib);
    const dl = f32(r.d(0) * (2 * ((qh >> 12) & 7) + 1));
    const delta = qh & 0x8000 ? -0.125 : 0.125;
    const n = r.u8(2 + 4 * ib + l) + 256 * ((qh >> (3 * l)) & 7);
    return point("IQ1", n).map((value) => f32(dl * (value + delta)));
  }),
  IQ1_M: eights((r, ib, l) => {
    const sc = range(4).map((n) => r.u16(48 + 2 * n));
    const d = f16ToF32(sc.reduce((bits, word, n) => bits | ((word >> 12) << (4 * n)), 0));
    const shift = 6 * (ib % 2) + 3 * (l >> 1);
    const dl = f32(d * (2 * (((sc[ib >> 1] as number) >> shift) & 7) + 1));
    const high = nibble(r.u8(32 + 2 * ib + (l >> 1)), l & 1);
    const delta = high & 8 ? -0.125 : 0.125;
    return point("IQ1", r.u8(4 * ib + l) + 256 * (high & 7)).map((value) => f32(dl * (value + delta)));
  }),
};
