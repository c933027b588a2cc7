import { f16ToF32 } from "../../src/base/float16.ts";
import { CODEBOOK_DECODERS } from "./codebook-decoders.ts";

/*
 * What the blocks of GGUF's types mean, written down type by type from ggml's definitions and apart from the tables that
 * the product reads: bytes of one block → its weights.
 */

type Decoder = (block: Uint8Array) => number[];

const half = (b: Uint8Array, at: number) => f16ToF32((b[at] as number) | ((b[at + 1] as number) << 8));
const f32 = Math.fround;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** IQ4_NL's values: closer together near zero. */
const NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** E2M1, doubled. */
const E2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** Twenty-four bytes or fewer in, low halves of the bytes first, then high ones. */
const halves = (bytes: Uint8Array): number[] => [
  ...[...bytes].map((byte) => byte & 15),
  ...[...bytes].map((byte) => byte >> 4),
];

function fifthBits(b: Uint8Array, at: number): number[] {
  const word = new DataView(b.buffer, b.byteOffset).getUint32(at, true);
  return range(32).map((i) => (word >>> i) & 1);
}

function sixBitPairs(q: Uint8Array): { scale: number; minimum: number }[] {
  const at = (i: number) => q[i] as number;
  return range(8).map((j) =>
    j < 4
      ? { scale: at(j) & 63, minimum: at(j + 4) & 63 }
      : {
          scale: (at(j + 4) & 15) | ((at(j - 4) >> 6) << 4),
          minimum: (at(j + 4) >> 4) | ((at(j) >> 6) << 4),
        },
  );
}

function ue4m3(byte: number): number {
  if (byte === 0 || byte === 0x7f) return 0;
  const [exponent, mantissa] = [(byte >> 3) & 15, byte & 7];
  const value = exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7);
  return value / 2;
}

export const DECODERS: Readonly<Record<string, Decoder>> = {
  ...CODEBOOK_DECODERS,
  Q1_0: (b) =>
    range(128).map((j) => (((b[2 + (j >> 3)] as number) >> (j & 7)) & 1 ? half(b, 0) : -half(b, 0))),
  Q2_0: (b) =>
    range(64).map((j) => f32(((((b[2 + (j >> 2)] as number) >> (2 * (j & 3))) & 3) - 1) * half(b, 0))),
  Q4_0: (b) => halves(b.subarray(2)).map((q) => f32((q - 8) * half(b, 0))),
  Q4_1: (b) => halves(b.subarray(4)).map((q) => f32(f32(q * half(b, 0)) + half(b, 2))),
  Q5_0: (b) => {
    const fifth = fifthBits(b, 2);
    return halves(b.subarray(6)).map((q, i) => f32((q + 16 * (fifth[i] as number) - 16) * half(b, 0)));
  },
  Q5_1: (b) => {
    const fifth = fifthBits(b, 4);
    return halves(b.subarray(8)).map((q, i) =>
      f32(f32((q + 16 * (fifth[i] as number)) * half(b, 0)) + half(b, 2)),
    );
  },
  Q8_0: (b) => [...new Int8Array(b.slice(2).buffer)].map((q) => f32(q * half(b, 0))),
  Q2_K: (b) =>
    range(256).map((i) => {
      const [n, j, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const shared = b[8 * n + 2 * j + (l >> 4)] as number;
      const q = ((b[16 + 32 * n + l] as number) >> (2 * j)) & 3;
      return f32(f32(f32(half(b, 80) * (shared & 15)) * q) - f32(half(b, 82) * (shared >> 4)));
    }),
  Q3_K: (b) => {
    const at = (i: number) => b[96 + i] as number;
    const scales = range(16).map((g) => {
      const low = g < 8 ? at(g) & 15 : at(g - 8) >> 4;
      return (low | (((at(8 + (g & 3)) >> (2 * (g >> 2))) & 3) << 4)) - 32;
    });
    return range(256).map((i) => {
      const [n, j, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = ((b[32 + 32 * n + l] as number) >> (2 * j)) & 3;
      const high = ((b[l] as number) >> (4 * n + j)) & 1;
      return f32(f32(half(b, 108) * (scales[i >> 4] as number)) * (low - (high ? 0 : 4)));
    });
  },
  Q4_K: (b) => {
    const pairs = sixBitPairs(b.subarray(4, 16));
    return range(256).map((i) => {
      const { scale, minimum } = pairs[i >> 5] as { scale: number; minimum: number };
      const byte = b[16 + 32 * (i >> 6) + (i & 31)] as number;
      const q = (i >> 5) & 1 ? byte >> 4 : byte & 15;
      return f32(f32(f32(half(b, 0) * scale) * q) - f32(half(b, 2) * minimum));
    });
  },
  Q5_K: (b) => {
    const pairs = sixBitPairs(b.subarray(4, 16));
    return range(256).map((i) => {
      const { scale, minimum } = pairs[i >> 5] as { scale: number; minimum: number };
      const byte = b[48 + 32 * (i >> 6) + (i & 31)] as number;
      const high = ((b[16 + (i & 31)] as number) >> (i >> 5)) & 1;
      const q = ((i >> 5) & 1 ? byte >> 4 : byte & 15) + 16 * high;
      return f32(f32(f32(half(b, 0) * scale) * q) - f32(half(b, 2) * minimum));
    });
  },
  Q6_K: (b) =>
    range(256).map((i) => {
      const [n, r, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const byte = b[64 * n + l + 32 * (r & 1)] as number;
      const low = r < 2 ? byte & 15 : byte >> 4;
      const high = ((b[128 + 32 * n + l] as number) >> (2 * r)) & 3;
      const scale = ((b[192 + 8 * n + 2 * r + (l >> 4)] as number) << 24) >> 24;
      return f32(f32(half(b, 208) * scale) * ((low | (high << 4)) - 32));
    }),
  IQ4_NL: (b) => halves(b.subarray(2)).map((q) => f32(half(b, 0) * (NL[q] as number))),
  IQ4_XS: (b) =>
    range(256).map((i) => {
      const g = i >> 5;
      const low = ((b[4 + (g >> 1)] as number) >> (4 * (g & 1))) & 15;
      const high = ((b[2 + (g >> 2)] as number) >> (2 * (g & 3))) & 3;
      const byte = b[8 + 16 * g + (i & 15)] as number;
      const q = (i >> 4) & 1 ? byte >> 4 : byte & 15;
      return f32(f32(half(b, 0) * ((low | (high << 4)) - 32)) * (NL[q] as number));
    }),
  TQ1_0: (b) => {
    const trit = (byte: number, n: number) => ((((byte * 3 ** n) & 255) * 3) >> 8) - 1;
    const run = (from: number, bytes: number, trits: number) =>
      range(trits).flatMap((n) => range(bytes).map((m) => trit(b[from + m] as number, n)));
    return [...run(0, 32, 5), ...run(32, 16, 5), ...run(48, 4, 4)].map((t) => f32(t * half(b, 52)));
  },
  TQ2_0: (b) =>
    range(256).map((i) => {
      const q = ((b[32 * (i >> 7) + (i & 31)] as number) >> (2 * ((i >> 5) & 3))) & 3;
      return f32((q - 1) * half(b, 64));
    }),
  MXFP4: (b) => halves(b.subarray(1)).map((q) => f32((E2M1[q] as number) * 2 ** ((b[0] as number) - 128))),
  NVFP4: (b) =>
    range(64).map((i) => {
      const byte = b[4 + 8 * (i >> 4) + (i & 7)] as number;
      const q = (i >> 3) & 1 ? byte >> 4 : byte & 15;
      return f32((E2M1[q] as number) * ue4m3(b[i >> 4] as number));
    }),
};
