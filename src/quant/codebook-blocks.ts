/**
 * What the blocks of GGUF's codebook types mean, each written as the block that `blockOf` describes for the type
 * (ggml-common.h and ggml-quants.c, `dequantize_row_*`). Weights come in eights, four of which share a 32-bit part of the
 * file's block. Offsets are those of the fields, which stand one after the other.
 */

import { type CodebookName, codebookPoints } from "./codebooks.ts";

/** The points of a codebook, expanded when they are first asked for. */
function points(name: CodebookName): () => Uint16Array {
  let found: Uint16Array | undefined;
  return () => {
    found ??= codebookPoints(name);
    return found;
  };
}

const iq1 = points("IQ1");
const iq2xxs = points("IQ2_XXS");
const iq2xs = points("IQ2_XS");
const iq2s = points("IQ2_S");

/** The signs of eight weights of which seven are stored: an even number is negative. */
const EVEN_SIGNS = Uint8Array.from({ length: 128 }, (_, signs) => {
  let parity = signs;
  for (const shift of [4, 2, 1]) parity ^= parity >> shift;
  return signs | ((parity & 1) << 7);
});

/** Writes the two-bit codes of eight weights. */
function writeEight(into: Uint8Array, to: number, codes: number): void {
  into[to] = codes;
  into[to + 1] = codes >>> 8;
}

/** Fields: scale; per 32 weights 32 bits: numbers of points (8 bits of each), and 32: signs (7 bits of each), scale. */
export function repackIq2xxs(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq2xxs();
  for (let part = 0; part < 8; part++) {
    const words = at + 2 + 8 * part;
    const signs = from[words + 4]! | (from[words + 5]! << 8) | (from[words + 6]! << 16);
    const top = from[words + 7]!;
    for (let l = 0; l < 4; l++) {
      const eight = 4 * part + l;
      writeEight(into, to + 6 + 2 * eight, grid[from[words + l]!]!);
      into[to + 70 + eight] = EVEN_SIGNS[((signs | (top << 24)) >>> (7 * l)) & 127]!;
    }
    writeNibble(into, to + 2, part, top >> 4);
  }
}

/** Writes number `n` of those of four bits from `to` on; even ones first. */
function writeNibble(into: Uint8Array, to: number, n: number, value: number): void {
  const byte = to + (n >> 1);
  into[byte] = n % 2 === 0 ? value : into[byte]! | (value << 4);
}

/** Fields: scale; 16 bits per 8 weights: number of the point (9 bits), signs (7 bits); scales (4 bits per 16 weights). */
export function repackIq2xs(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq2xs();
  for (let eight = 0; eight < 32; eight++) {
    const low = from[at + 2 + 2 * eight]!;
    const high = from[at + 3 + 2 * eight]!;
    writeEight(into, to + 10 + 2 * eight, grid[low | ((high & 1) << 8)]!);
    into[to + 74 + eight] = EVEN_SIGNS[high >> 1]!;
  }
  for (let n = 0; n < 8; n++) into[to + 2 + n] = from[at + 66 + n]!;
}

/** Fields: scale; per 8 weights: number of the point (8 bits); signs; two bits more of the numbers; scales. */
export function repackIq2s(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq2s();
  for (let part = 0; part < 8; part++) {
    const high = from[at + 66 + part]!;
    for (let l = 0; l < 4; l++) {
      const eight = 4 * part + l;
      writeEight(into, to + 10 + 2 * eight, grid[from[at + 2 + eight]! | (((high >> (2 * l)) & 3) << 8)]!);
      into[to + 74 + eight] = from[at + 34 + eight]!;
    }
    into[to + 2 + part] = from[at + 74 + part]!;
  }
}

/** Fields: scale; per 8 weights: number of the point (8 bits); 16 bits per 32: 3 bits more of each, scale, sign of ⅛. */
export function repackIq1s(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq1();
  for (let part = 0; part < 8; part++) {
    const rest = from[at + 34 + 2 * part]! | (from[at + 35 + 2 * part]! << 8);
    for (let l = 0; l < 4; l++) {
      const eight = 4 * part + l;
      const point = from[at + 2 + eight]! | (((rest >> (3 * l)) & 7) << 8);
      writeEight(into, to + 14 + 2 * eight, grid[point]!);
    }
    writeNibble(into, to + 2, part, (rest >> 12) & 7);
    into[to + 6 + part] = rest >> 15 === 0 ? 7 : 9;
  }
}

/**
 * Fields: per 8 weights: number of the point (8 bits); 4 bits: 3 more of it, sign of ⅛; 16 bits per 64 weights: scales (3 bits
 * per 16), a part of the block's scale.
 */
export function repackIq1m(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq1();
  for (let eight = 0; eight < 32; eight++) {
    const rest = from[at + 32 + (eight >> 1)]! >> (4 * (eight & 1));
    writeEight(into, to + 10 + 2 * eight, grid[from[at + eight]! | ((rest & 7) << 8)]!);
    into[to + 74 + eight] = (rest & 8) === 0 ? 0 : 255;
  }
  for (let n = 0; n < 16; n++) {
    const scales = at + 48 + 2 * (n >> 2);
    const word = from[scales]! | (from[scales + 1]! << 8);
    writeNibble(into, to + 2, n, (word >> (3 * (n & 3))) & 7);
  }
}

/** The four codes of a point of IQ3, a byte each. */
function quadPoints(name: CodebookName): () => Uint32Array {
  let found: Uint32Array | undefined;
  return () => {
    found ??= Uint32Array.from(
      codebookPoints(name),
      (point) => (point & 7) | ((point & 56) << 5) | ((point & 448) << 10) | ((point & 3584) << 15),
    );
    return found;
  };
}

const iq3xxs = quadPoints("IQ3_XXS");
const iq3s = quadPoints("IQ3_S");

/** The sign bits of four codes, a byte each, by the four signs. */
const QUAD_SIGNS = Uint32Array.from(
  { length: 16 },
  (_, signs) => ((signs & 1) << 3) | ((signs & 2) << 10) | ((signs & 4) << 17) | ((signs & 8) << 24),
);

/** The codes of the 32 weights at hand, four to a word. */
const quads = new Uint32Array(8);

/** Writes them as `nibbles` does: those of the second half in the high bits. */
function writeQuads(into: Uint8Array, to: number): void {
  for (let n = 0; n < 4; n++) {
    const word = quads[n]! | (quads[n + 4]! << 4);
    into[to + 4 * n] = word;
    into[to + 4 * n + 1] = word >>> 8;
    into[to + 4 * n + 2] = word >>> 16;
    into[to + 4 * n + 3] = word >>> 24;
  }
}

/** Fields: scale; per 4 weights: number of the point (8 bits); per 32 weights: signs (7 bits per 8), scale (4 bits). */
export function repackIq3xxs(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq3xxs();
  for (let part = 0; part < 8; part++) {
    const word = at + 66 + 4 * part;
    const top = from[word + 3]!;
    const bits = from[word]! | (from[word + 1]! << 8) | (from[word + 2]! << 16) | (top << 24);
    for (let n = 0; n < 8; n++) {
      const signs = EVEN_SIGNS[(bits >>> (7 * (n >> 1))) & 127]!;
      quads[n] = grid[from[at + 2 + 8 * part + n]!]! | QUAD_SIGNS[(signs >> (4 * (n & 1))) & 15]!;
    }
    writeQuads(into, to + 6 + 16 * part);
    writeNibble(into, to + 2, part, top >> 4);
  }
}

/** Fields: scale; per 4 weights: number of the point (8 bits); one bit more of the numbers; signs; scales (4 bits per 32). */
export function repackIq3s(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  const grid = iq3s();
  for (let part = 0; part < 8; part++) {
    const high = from[at + 66 + part]!;
    for (let n = 0; n < 8; n++) {
      const point = from[at + 2 + 8 * part + n]! | (((high >> n) & 1) << 8);
      const signs = from[at + 74 + 4 * part + (n >> 1)]!;
      quads[n] = grid[point]! | QUAD_SIGNS[(signs >> (4 * (n & 1))) & 15]!;
    }
    writeQuads(into, to + 6 + 16 * part);
  }
  for (let n = 0; n < 4; n++) into[to + 2 + n] = from[at + 106 + n]!;
}

/** The five digits of base 3 that a byte is, as a fraction of 256, rounded up; two bits each, the first one lowest. */
const TRITS = Uint16Array.from({ length: 256 }, (_, byte) => {
  let [digits, rest] = [0, byte];
  for (let n = 0; n < 5; n++) {
    digits |= ((rest * 3) >> 8) << (2 * n);
    rest = (rest * 3) & 255;
  }
  return digits;
});

/**
 * Fields: 32 bytes for 160 weights, 16 for 80, both with five weights that are as far apart; 4 bytes for 16, with four; scale.
 * What they become has four weights a byte that are 32 apart.
 */
export function repackTq1(from: Uint8Array, at: number, into: Uint8Array, to: number): void {
  for (let m = 0; m < 32; m++) {
    const trits = TRITS[from[at + m]!]!;
    into[to + m] = trits;
    into[to + 32 + m] = trits >> 8;
  }
  for (let m = 0; m < 16; m++) {
    const trits = TRITS[from[at + 32 + m]!]!;
    into[to + 32 + m]! |= ((trits & 3) << 2) | (trits & 48) | ((trits & 768) >> 2);
    into[to + 48 + m]! |= (trits & 12) | ((trits & 192) >> 2);
    // The last byte of sixteen weights: four of each of four bytes.
    into[to + 48 + m]! |= ((TRITS[from[at + 48 + (m & 3)]!]! >> (2 * (m >> 2))) & 3) << 6;
  }
}
