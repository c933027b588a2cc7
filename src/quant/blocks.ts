/**
 * How weights stand in a file, block after block along a row: where the bits of every code, scale and minimum are. Only
 * packing and the oracle read this; kernels see weights packed.
 */

import {
  blockCount,
  blockSize,
  CHUNK,
  chunkCount,
  type Format,
  groupsOfBlock,
  type QuantizedFormat,
} from "./formats.ts";

/** Bits `shift` … `shift + bits − 1` of byte `byte` of a block. */
export interface BitField {
  readonly byte: number;
  readonly shift: number;
  readonly bits: number;
}

/** A block of one row: its weights, and what they share. A value is its fields joined, the lowest bits first. */
export interface Block {
  readonly weights: number;
  readonly bytes: number;
  /** The code of weight `k` of the block. */
  readonly code: (k: number) => readonly BitField[];
  /** The scale of group `g` of the block, where every group has one of its own. */
  readonly scale?: (g: number) => readonly BitField[];
  /** The minimum or zero point of group `g`. */
  readonly zero?: (g: number) => readonly BitField[];
  /** Offset of the f16 that all scales of the block are multiples of. */
  readonly halfScale?: number;
  /** Offset of the f16 that all minima of the block are multiples of. */
  readonly halfZero?: number;
  /** Bytes from the codes of a chunk to those of the next, where all chunks are alike. */
  readonly chunkBytes?: number;
}

const field = (byte: number, shift: number, bits: number): BitField => ({ byte, shift, bits });
const whole = (byte: number): BitField => field(byte, 0, 8);
const half = (byte: number): BitField[] => [whole(byte), whole(byte + 1)];

/** 4-bit codes of `weights` weights from byte `at` on: weight k and k + weights/2 share a byte, low bits first. */
const nibbles =
  (at: number, weights: number) =>
  (k: number): BitField =>
    field(at + (k % (weights / 2)), k < weights / 2 ? 0 : 4, 4);

/** Codes of `bits` bits, one after the other in a byte from the low bits up. */
const dense =
  (at: number, bits: number) =>
  (k: number): BitField =>
    field(at + Math.floor((k * bits) / 8), (k * bits) % 8, bits);

/** The same where a code may begin in one byte and end in the next. */
const stream =
  (at: number, bits: number) =>
  (k: number): BitField[] => {
    const [byte, shift] = [at + Math.floor((k * bits) / 8), (k * bits) % 8];
    const first = Math.min(bits, 8 - shift);
    return first === bits
      ? [field(byte, shift, bits)]
      : [field(byte, shift, first), field(byte + 1, 0, bits - first)];
  };

/** Codes of 128 weights in 32 bytes: four codes of 2 bits a byte, 32 weights apart. */
const quarters =
  (at: number) =>
  (k: number): BitField =>
    field(at + 32 * (k >> 7) + (k & 31), 2 * ((k >> 5) & 3), 2);

/** Scales (`first` = 4) and minima (`first` = 8) of Q4_K and Q5_K: 6 bits, of which the last four groups are split. */
const sixBits =
  (at: number, low: number) =>
  (g: number): BitField[] =>
    g < 4
      ? [field(at + 4 * low + g, 0, 6)]
      : [field(at + 8 + (g - 4), 4 * low, 4), field(at + 4 * low + (g - 4), 6, 2)];

/** IQ2 and IQ1_M as they are re-packed: codes of two bits, and behind them the third bits of all. */
const signed = (groups: number): Block => {
  const codesAt = 2 + groups / 2;
  return {
    weights: 256,
    bytes: codesAt + 64 + 32,
    halfScale: 0,
    scale: (g) => [dense(2, 4)(g)],
    code: (k) => [dense(codesAt, 2)(k), dense(codesAt + 64, 1)(k)],
  };
};

/** IQ3 as it is re-packed. */
const signedNibbles: Block = {
  weights: 256,
  bytes: 2 + 4 + 128,
  halfScale: 0,
  scale: (g) => [dense(2, 4)(g)],
  code: (k) => [nibbles(6 + 16 * (k >> 5), 32)(k & 31)],
};

const TERNARY: Block = { weights: 256, bytes: 66, scale: () => half(64), code: (k) => [quarters(0)(k)] };

/**
 * The blocks of GGUF's types by name (ggml-common.h, `block_*`); of types that are re-packed while they are read
 * (`quant/repacking.ts`), what they become.
 */
export const GGUF_BLOCKS = {
  Q4_0: { weights: 32, bytes: 18, scale: () => half(0), code: (k) => [nibbles(2, 32)(k)], chunkBytes: 16 },
  Q4_1: {
    weights: 32,
    bytes: 20,
    scale: () => half(0),
    zero: () => half(2),
    code: (k) => [nibbles(4, 32)(k)],
    chunkBytes: 16,
  },
  Q8_0: { weights: 32, bytes: 34, scale: () => half(0), code: (k) => [whole(2 + k)], chunkBytes: 32 },
  Q1_0: { weights: 128, bytes: 18, scale: () => half(0), code: (k) => [dense(2, 1)(k)] },
  Q2_0: { weights: 64, bytes: 18, scale: () => half(0), code: (k) => [dense(2, 2)(k)] },
  Q5_0: {
    weights: 32,
    bytes: 22,
    scale: () => half(0),
    code: (k) => [nibbles(6, 32)(k), dense(2, 1)(k)],
  },
  Q5_1: {
    weights: 32,
    bytes: 24,
    scale: () => half(0),
    zero: () => half(2),
    code: (k) => [nibbles(8, 32)(k), dense(4, 1)(k)],
  },
  Q2_K: {
    weights: 256,
    bytes: 84,
    halfScale: 80,
    halfZero: 82,
    scale: (g) => [field(g, 0, 4)],
    zero: (g) => [field(g, 4, 4)],
    code: (k) => [quarters(16)(k)],
  },
  Q3_K: {
    weights: 256,
    bytes: 110,
    halfScale: 108,
    scale: (g) => [field(96 + (g % 8), g < 8 ? 0 : 4, 4), field(104 + (g % 4), 2 * (g >> 2), 2)],
    code: (k) => [quarters(32)(k), field(k & 31, k >> 5, 1)],
  },
  Q4_K: {
    weights: 256,
    bytes: 144,
    halfScale: 0,
    halfZero: 2,
    scale: sixBits(4, 0),
    zero: sixBits(4, 1),
    code: (k) => [nibbles(16 + 32 * (k >> 6), 64)(k & 63)],
  },
  Q5_K: {
    weights: 256,
    bytes: 176,
    halfScale: 0,
    halfZero: 2,
    scale: sixBits(4, 0),
    zero: sixBits(4, 1),
    code: (k) => [nibbles(48 + 32 * (k >> 6), 64)(k & 63), field(16 + (k & 31), k >> 5, 1)],
  },
  Q6_K: {
    weights: 256,
    bytes: 210,
    halfScale: 208,
    scale: (g) => [whole(192 + g)],
    code: (k) => [nibbles(64 * (k >> 7), 128)(k & 127), quarters(128)(k)],
  },
  IQ4_NL: { weights: 32, bytes: 18, scale: () => half(0), code: (k) => [nibbles(2, 32)(k)] },
  IQ4_XS: {
    weights: 256,
    bytes: 136,
    halfScale: 0,
    scale: (g) => [dense(4, 4)(g), dense(2, 2)(g)],
    code: (k) => [nibbles(8 + 16 * (k >> 5), 32)(k & 31)],
  },
  IQ1_S: {
    weights: 256,
    bytes: 78,
    halfScale: 0,
    scale: (g) => [dense(2, 4)(g)],
    zero: (g) => [whole(6 + g)],
    code: (k) => [dense(14, 2)(k)],
  },
  IQ1_M: signed(16),
  IQ2_XXS: signed(8),
  IQ2_XS: signed(16),
  IQ2_S: signed(16),
  IQ3_XXS: signedNibbles,
  IQ3_S: signedNibbles,
  TQ1_0: TERNARY,
  TQ2_0: TERNARY,
  MXFP4: { weights: 32, bytes: 17, scale: () => [whole(0)], code: (k) => [nibbles(1, 32)(k)] },
  NVFP4: {
    weights: 64,
    bytes: 36,
    scale: (g) => [whole(g)],
    code: (k) => [nibbles(4 + 8 * (k >> 4), 16)(k & 15)],
  },
} as const satisfies Record<string, Block>;

/**
 * The blocks of the paper's family: the f16 scales of their groups, the u8 zero points, then the codes as one stream of bits,
 * from the low bits of a byte on, as checkpoints have them. The last block of a row has only the chunks that there are.
 */
function familyBlock(format: QuantizedFormat, cols: number): Block {
  const { bits, zero } = format;
  const groups = groupsOfBlock(format, cols);
  const zerosAt = 2 * groups;
  const codesAt = zero.kind === "code" ? zerosAt + groups : zerosAt;
  const weights = blockSize(format, cols);
  const chunkBytes = (CHUNK / 8) * bits;
  return {
    weights,
    bytes: codesAt + chunkCount(weights) * chunkBytes,
    scale: (g) => half(2 * g),
    ...(zero.kind === "code" ? { zero: (g: number) => [whole(zerosAt + g)] } : {}),
    code: stream(codesAt, bits),
    chunkBytes,
  };
}

/** How a row of `cols` weights of a format is stored. */
export function blockOf(format: QuantizedFormat, cols: number): Block {
  return (GGUF_BLOCKS as Readonly<Record<string, Block>>)[format.name] ?? familyBlock(format, cols);
}

/** Bytes of a row of `cols` weights as it stands in a file. */
export function rowBytes(format: Format, cols: number): number {
  if (format.kind === "float") return cols * format.bytes;
  const { bytes, weights, chunkBytes } = blockOf(format, cols);
  const blocks = blockCount(format, cols);
  const missing = chunkCount(blocks * weights) - chunkCount(cols);
  return blocks * bytes - missing * (chunkBytes ?? 0);
}

/** Bits per weight that a format's own definition needs (scales and zeros included), for rows of `cols` weights. */
export function bitsPerWeight(format: Format, cols: number): number {
  return (8 * rowBytes(format, cols)) / cols;
}

/** The value in fields of the block that starts at `at`. */
export function readFields(bytes: Uint8Array, at: number, fields: readonly BitField[]): number {
  let value = 0;
  let low = 0;
  for (const { byte, shift, bits } of fields) {
    value |= ((bytes[at + byte]! >>> shift) & (2 ** bits - 1)) << low;
    low += bits;
  }
  return value;
}

/** Puts a value into fields of the block that starts at `at`. */
export function writeFields(bytes: Uint8Array, at: number, fields: readonly BitField[], value: number): void {
  let low = 0;
  for (const { byte, shift, bits } of fields) {
    const mask = (2 ** bits - 1) << shift;
    bytes[at + byte] = (bytes[at + byte]! & ~mask) | (((value >>> low) << shift) & mask);
    low += bits;
  }
}

/** The fields of an f16 at a byte. */
export function halfAt(byte: number): readonly BitField[] {
  return half(byte);
}
