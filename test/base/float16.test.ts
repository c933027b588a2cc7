import { expect, it } from "vitest";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";

interface Format {
  readonly name: string;
  readonly fractionBits: number;
  readonly leastExponent: number;
  readonly greatestExponent: number;
  readonly toF32: (bits: number) => number;
  readonly fromF32: (value: number) => number;
}

const FORMATS: readonly Format[] = [
  {
    name: "f16",
    fractionBits: 10,
    leastExponent: -14,
    greatestExponent: 15,
    toF32: f16ToF32,
    fromF32: f32ToF16,
  },
  {
    name: "bf16",
    fractionBits: 7,
    leastExponent: -126,
    greatestExponent: 127,
    toF32: bf16ToF32,
    fromF32: f32ToBf16,
  },
];

/** The value that 16 bits stand for, from the definition of the format, in f64 arithmetic. */
function decode(format: Format, bits: number): number {
  const { fractionBits, leastExponent, greatestExponent } = format;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >>> fractionBits;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === 0) return sign * fraction * 2 ** leastExponent;
  if (exponent + leastExponent - 1 > greatestExponent) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction) * 2 ** (exponent + leastExponent - 1);
}

/** `value` rounded to the format, ties to even, in f64 arithmetic: scaled so that the last place is 1. */
function round(format: Format, value: number): number {
  const { fractionBits, leastExponent, greatestExponent } = format;
  if (!Number.isFinite(value) || value === 0) return value;
  // An f32 below a power of two is at least 2^-24 of it below, which shows in an f64 logarithm.
  const logarithm = Math.floor(Math.log2(Math.abs(value)));
  const exponent = Math.min(Math.max(logarithm, leastExponent), greatestExponent);
  const unit = 2 ** (exponent - fractionBits);
  const scaled = Math.abs(value) / unit;
  const floor = Math.floor(scaled);
  const up = scaled - floor > 0.5 || (scaled - floor === 0.5 && floor % 2 === 1);
  const rounded = (floor + (up ? 1 : 0)) * unit;
  return Math.sign(value) * (rounded >= 2 ** (greatestExponent + 1) ? Infinity : rounded);
}

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

function f32(bits: number): number {
  words[0] = bits;
  return floats[0]!;
}

it.each(FORMATS)("$name decodes and encodes back every one of the 65,536 bit patterns", (format) => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = format.toF32(bits);
    const back = format.fromF32(value);
    if (!Object.is(value, decode(format, bits))) expect.fail(`${bits} decodes to ${value}`);
    const same = Number.isNaN(value) ? Number.isNaN(decode(format, back)) : back === bits;
    if (!same) expect.fail(`${bits} is ${value}, which encodes to ${back}`);
  }
});

it.each(FORMATS)("$name rounds to nearest even at, just below and just above every tie", (format) => {
  const infinity = format.fromF32(Infinity);
  for (let bits = 0; bits < infinity; bits++) {
    const low = decode(format, bits);
    // Past the last finite value the next step up, where overflow begins, has the last step's width.
    const high = bits + 1 < infinity ? decode(format, bits + 1) : 2 * low - decode(format, bits - 1);
    // An f16 subnormal's tie is an exact f32; a bf16 subnormal's too, as an f32 subnormal.
    words[0] = 0;
    floats[0] = low + (high - low) / 2;
    const tie = words[0]!;
    for (const near of [tie - 1, tie, tie + 1]) checkRounding(format, near);
  }
});

it.each(FORMATS)("$name rounds 400,000 random f32 bit patterns as the reference does", (format) => {
  const rng = new Rng(11);
  for (let i = 0; i < 200_000; i++) {
    checkRounding(format, rng.u32());
    // Half of all patterns overflow or vanish in f16: once more within its range.
    checkRounding(format, (0x32000000 + rng.integer(0x48000000 - 0x32000000)) | (rng.integer(2) << 31));
  }
});

function checkRounding(format: Format, pattern: number): void {
  const value = f32(pattern);
  const wanted = round(format, value);
  const found = decode(format, format.fromF32(value));
  if (!Object.is(wanted, found)) expect.fail(`${format.name} of ${value} is ${found}, not ${wanted}`);
}

it.each(FORMATS)("$name keeps infinities, signed zeros and NaN", (format) => {
  for (const value of [Infinity, -Infinity, 0, -0, Number.NaN]) {
    expect(format.toF32(format.fromF32(value))).toBe(value);
  }
});

it("f16 has the values of the standard's table", () => {
  expect(f32ToF16(1)).toBe(0x3c00);
  expect(f32ToF16(65504)).toBe(0x7bff);
  expect(f32ToF16(65519.996)).toBe(0x7bff);
  expect(f32ToF16(65520)).toBe(0x7c00);
  expect(f32ToF16(2 ** -14)).toBe(0x0400);
  expect(f32ToF16(2 ** -24)).toBe(0x0001);
  expect(f32ToF16(2 ** -25)).toBe(0x0000);
  expect(f32ToF16(-(2 ** -25) * 1.0000001)).toBe(0x8001);
});
