import type { Rng } from "../../src/base/rng.ts";

/** Bit patterns of f32: zeros, ones, ties, limits, subnormals, infinities, NaN. */
export const F32_CORNERS: readonly number[] = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x3f000000, 0xbf000000, 0x3fc00000, 0x40200000, 0x3f800001,
  0x3f7fffff, 0x4b000000, 0x4b800001, 0x7f7fffff, 0xff7fffff, 0x00000001, 0x80000001, 0x007fffff, 0x00800000,
  0x80800000, 0x7f800000, 0xff800000, 0x7fc00000,
];

export const I32_CORNERS: readonly number[] = [
  0, 1, -1, 2, -2, 7, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, 65535, 65536, 0x01000001,
  0x55555555, 0x7fffffff, 0x7ffffffe, -0x80000000, -0x7fffffff,
];

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

export function bitsOf(value: number): number {
  f32[0] = value;
  return u32[0]!;
}

export function floatOf(bits: number): number {
  u32[0] = bits;
  return f32[0]!;
}

/** Bits of f32 values: half of them near 1, half of them anything but NaN. */
export function randomFloats(count: number, rng: Rng): number[] {
  return Array.from({ length: count }, (_, i) => {
    if (i % 2 === 0) return bitsOf(4 * rng.normal());
    const bits = rng.u32();
    return Number.isNaN(floatOf(bits)) ? bits & 0x807fffff : bits;
  });
}

export function randomInts(count: number, rng: Rng): number[] {
  return Array.from({ length: count }, (_, i) => (i % 2 === 0 ? rng.integer(2000) - 1000 : rng.u32()));
}

/** Codes below 2^bits, the largest and zero first. */
export function codes(count: number, bits: number, rng: Rng): Uint8Array {
  const max = 2 ** bits - 1;
  return Uint8Array.from({ length: count }, (_, i) => (i === 0 ? max : i === 1 ? 0 : rng.integer(max + 1)));
}

/** Bytes −127 … 127. */
export function activations(count: number, rng: Rng): Int8Array {
  return Int8Array.from({ length: count }, () => rng.integer(255) - 127);
}

/** Every pair of a first and a second value. */
export function pairs(first: readonly number[], second: readonly number[]): number[][] {
  return first.flatMap((a) => second.map((b) => [a, b]));
}

/** Tuples of neighbours: `count` values each. */
export function tuples(values: readonly number[], count: number): number[][] {
  const rows = Math.floor(values.length / count);
  return Array.from({ length: rows }, (_, i) => values.slice(i * count, (i + 1) * count));
}

export const words = (values: readonly number[]) => new Uint8Array(Uint32Array.from(values).buffer);
export const halves = (values: readonly number[]) => new Uint8Array(Uint16Array.from(values).buffer);
export const floats = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
