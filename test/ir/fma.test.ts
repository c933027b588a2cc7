import { expect, test } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import { fusedMultiplyAdd } from "../../src/ir/fma.ts";
import { bitsOf, F32_CORNERS, floatOf, randomFloats } from "./corner-values.ts";

/** A finite f32 in units of 2^-149. */
function units(value: number): bigint {
  const bits = bitsOf(value);
  const exponent = (bits >>> 23) & 0xff;
  const significand =
    BigInt((bits & 0x7fffff) | (exponent > 0 ? 0x800000 : 0)) << BigInt(Math.max(exponent - 1, 0));
  return bits >>> 31 ? -significand : significand;
}

/** n · 2^-298 to the nearest f32, ties to even, in whole numbers. */
function nearest(n: bigint): number {
  const magnitude = n < 0n ? -n : n;
  const top = magnitude.toString(2).length - 1;
  const shift = BigInt(Math.max(top - 23, 298 - 149));
  const [quotient, rest] = [magnitude >> shift, magnitude & ((1n << shift) - 1n)];
  const half = 1n << (shift - 1n);
  const up = rest > half || (rest === half && (quotient & 1n) === 1n);
  const value = Number(quotient + (up ? 1n : 0n)) * 2 ** (Number(shift) - 298);
  return Math.fround(n < 0n ? -value : value);
}

function exact(a: number, b: number, c: number): number {
  const sum = units(a) * units(b) + (units(c) << 149n);
  return sum === 0n ? a * b + c : nearest(sum);
}

const finite = (bits: number) => Number.isFinite(floatOf(bits));

test("rounds once: corner values", () => {
  const corners = F32_CORNERS.filter(finite).map(floatOf);
  for (const a of corners)
    for (const b of corners)
      for (const c of corners) expect(fusedMultiplyAdd(a, b, c), `${a} · ${b} + ${c}`).toBe(exact(a, b, c));
});

test("rounds once: a tie of the product, decided by the addend", () => {
  const tie = [24929, 673 * 2 ** -24] as const;
  expect(fusedMultiplyAdd(...tie, 0)).toBe(1);
  expect(fusedMultiplyAdd(...tie, 2 ** -140)).toBe(1 + 2 ** -23);
  expect(fusedMultiplyAdd(...tie, -(2 ** -140))).toBe(1);
  expect(Math.fround(24929 * 673 * 2 ** -24 + 2 ** -140)).toBe(1);
});

test("rounds once: random values, cancellations, sums near ties", () => {
  const rng = new Rng(5);
  const values = randomFloats(30000, rng).filter(finite).map(floatOf);
  for (let i = 0; i + 2 < values.length; i += 3) {
    const [a, b, c] = [values[i]!, values[i + 1]!, values[i + 2]!];
    const tiny = Math.fround(c * 2 ** -rng.integer(120));
    const opposite = Math.fround(-(a * b));
    for (const addend of [c, tiny, Number.isFinite(opposite) ? opposite : 0])
      expect(fusedMultiplyAdd(a, b, addend), `${a} · ${b} + ${addend}`).toBe(exact(a, b, addend));
  }
});

test("infinities and NaN", () => {
  const infinity = Number.POSITIVE_INFINITY;
  expect(fusedMultiplyAdd(infinity, 1, -5)).toBe(infinity);
  expect(fusedMultiplyAdd(infinity, 0, 1)).toBeNaN();
  expect(fusedMultiplyAdd(infinity, 1, -infinity)).toBeNaN();
  expect(fusedMultiplyAdd(Number.NaN, 1, 1)).toBeNaN();
  expect(fusedMultiplyAdd(1, 1, -infinity)).toBe(-infinity);
});
