import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { blockOf, readFields, rowBytes } from "../../src/quant/blocks.ts";
import {
  blockCount,
  CHUNK,
  chunkCount,
  FORMATS,
  type Format,
  formatNamed,
  groupCount,
  groupSize,
  type QuantizedFormat,
} from "../../src/quant/formats.ts";
import { canQuantize, quantizeRows } from "../../src/quant/quantizers.ts";
import { dequantizeRows, unpackRow } from "../../src/quant/reference.ts";

const formats = [...FORMATS.values()].filter(canQuantize);
const quantized = formats.filter((f): f is QuantizedFormat => f.kind === "quantized");
const family = quantized.filter((f) => f.name.includes("bit"));

/** Weights around a mean that is often not 0, of sizes that an f16 scale resolves. */
const matrices = fc
  .record({
    seed: fc.integer({ min: 0 }),
    rows: fc.integer({ min: 1, max: 3 }),
    cols: fc.constantFrom(1, 7, 31, 32, 33, 127, 128, 172),
    size: fc.integer({ min: -6, max: 6 }),
    mean: fc.constantFrom(0, 0, 0.5, -3),
  })
  .map(({ seed, rows, cols, size, mean }) => {
    const rng = new Rng(seed);
    const weights = Float32Array.from({ length: rows * cols }, () => (rng.normal() + mean) * 2 ** size);
    return { rows, cols, weights };
  });

function roundTrip(format: Format, weights: Float32Array, rows: number, cols: number): Float32Array {
  return dequantizeRows(format, quantizeRows(format, weights, rows, cols), rows, cols);
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
}

/** Calls `visit` with each group's first and end index, for rows of `cols` weights. */
function eachGroup(
  format: QuantizedFormat,
  rows: number,
  cols: number,
  visit: (start: number, end: number, row: number, group: number) => void,
): void {
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groupCount(format, cols); g++) {
      const start = r * cols + g * groupSize(format, cols);
      visit(start, Math.min((r + 1) * cols, start + groupSize(format, cols)), r, g);
    }
  }
}

/**
 * The largest error a weight of the group `values` may have. The steps between codes are range/top; symmetric codes
 * that favour one sign clip the other by one step, an integer zero point shifts the range by up to half a step.
 */
function errorBound(format: QuantizedFormat, values: Float32Array): number {
  const absmax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const [least, greatest] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
  // Of the scale: half a unit in the last place, which is 2^-25 for subnormal ones, times the largest code.
  const f16Rounding = 2 ** -10 * absmax + 2 ** -25 * 2 ** format.bits;
  const top = 2 ** format.bits - 1;
  if (format.signedCodes) return absmax / (top - 1) + f16Rounding;
  switch (format.zero.kind) {
    case "constant":
      return absmax / format.zero.value + f16Rounding;
    case "code":
      return (greatest - least) / top + f16Rounding;
    case "minimum":
      return (Math.max(...values) - Math.min(...values)) / top / 2 + f16Rounding;
    case "product":
      throw new Error(`${format.name} has no quantizer`);
  }
}

describe.each(quantized)("quantizing to $name", (format) => {
  it("keeps every weight within its format's error", () => {
    fc.assert(
      fc.property(matrices, ({ weights, rows, cols }) => {
        const back = roundTrip(format, weights, rows, cols);
        eachGroup(format, rows, cols, (start, end) => {
          const bound = errorBound(format, weights.subarray(start, end));
          let worst = 0;
          for (let i = start; i < end; i++) worst = Math.max(worst, Math.abs(weights[i]! - back[i]!));
          expect(worst).toBeLessThanOrEqual(bound);
        });
      }),
      { numRuns: 40 },
    );
  });

  it("stores padding inputs as 0", () => {
    for (const cols of [1, 31, 33, 172]) {
      const bytes = quantizeRows(format, new Float32Array(2 * cols).fill(-1.5), 2, cols);
      const block = blockOf(format, cols);
      const start = rowBytes(format, cols) + (blockCount(format, cols) - 1) * block.bytes;
      const inBlock = cols - (blockCount(format, cols) - 1) * block.weights;
      for (let k = inBlock; k < chunkCount(inBlock) * CHUNK; k++)
        expect(readFields(bytes, start, block.code(k))).toBe(0);
    }
  });
});

describe.each(family)("$name", (format) => {
  it("gives every weight the code that is nearest at the stored scale and zero point", () => {
    fc.assert(
      fc.property(matrices, ({ weights, rows, cols }) => {
        const bytes = quantizeRows(format, weights, rows, cols);
        const back = dequantizeRows(format, bytes, rows, cols);
        const perRow = rowBytes(format, cols);
        eachGroup(format, rows, cols, (start, end, r, g) => {
          const { scales, zeros } = unpackRow(format, bytes.subarray(r * perRow, (r + 1) * perRow), cols);
          const values = Array.from({ length: 2 ** format.bits }, (_, q) => scales[g]! * (q - zeros[g]!));
          const i = start + ((end - start) >> 1);
          const nearest = Math.min(...values.map((value) => Math.abs(value - weights[i]!)));
          expect(Math.abs(back[i]! - weights[i]!)).toBeCloseTo(nearest, 6);
        });
      }),
      { numRuns: 20 },
    );
  });

  it("keeps zeros exact", () => {
    const weights = Float32Array.from({ length: 128 }, (_, i) => (i % 2) * (i - 40) * 0.37);
    const back = roundTrip(format, weights, 1, 128);
    for (let i = 0; i < 128; i += 2) expect(Math.abs(back[i]!)).toBe(0);
  });
});

describe.each(formats)("$name", (format) => {
  it("turns groups of zeros into exact zeros", () => {
    const back = roundTrip(format, new Float32Array(2 * 172), 2, 172);
    expect(back.every((weight) => weight === 0)).toBe(true);
  });

  it("stays finite for weights that are subnormal in f16 and in f32", () => {
    for (const size of [1e-6, 1e-8, 1e-39, 2 ** -149]) {
      const weights = Float32Array.from({ length: 64 }, (_, i) => (i - 20) * size);
      const back = roundTrip(format, weights, 2, 32);
      expect(back.every((weight) => Math.abs(weight) <= 64 * size + 2 ** -17)).toBe(true);
    }
  });

  it.each([Number.NaN, Infinity, -Infinity])("refuses %d, naming the row", (bad) => {
    const weights = new Float32Array(5 * 33);
    weights[3 * 33 + 32] = bad;
    expect(() => quantizeRows(format, weights, 5, 33)).toThrow(UsageError);
    expect(() => quantizeRows(format, weights, 5, 33)).toThrow(`row 3: weight 32 is ${bad}`);
  });

  it("refuses a wrong number of weights", () => {
    expect(() => quantizeRows(format, new Float32Array(63), 2, 32)).toThrow(UsageError);
  });
});

it.each(quantized)("$name refuses weights whose scale is no f16", (format) => {
  const weights = new Float32Array(2 * 64);
  weights[64] = 3e38;
  weights[65] = -3e38;
  expect(() => quantizeRows(format, weights, 2, 64)).toThrow(UsageError);
  expect(() => quantizeRows(format, weights, 2, 64)).toThrow(/row 1/);
});

describe("float formats", () => {
  const weights = Float32Array.of(0, -0, 1, 1 / 3, -65504, 1e-7, 2 ** -149, 1.00048828125);

  it("round to nearest even", () => {
    const expected = {
      F32: weights,
      F16: weights.map((w) => f16ToF32(f32ToF16(w))),
      BF16: weights.map((w) => bf16ToF32(f32ToBf16(w))),
    };
    for (const [name, values] of Object.entries(expected)) {
      expect(roundTrip(formatNamed(name), weights, 2, 4)).toEqual(values);
    }
  });

  it("are little-endian", () => {
    expect([...quantizeRows(formatNamed("F32"), Float32Array.of(1), 1, 1)]).toEqual([0, 0, 0x80, 0x3f]);
    expect([...quantizeRows(formatNamed("F16"), Float32Array.of(-2), 1, 1)]).toEqual([0, 0xc0]);
    expect([...quantizeRows(formatNamed("BF16"), Float32Array.of(1), 1, 1)]).toEqual([0x80, 0x3f]);
  });

  it("refuse what only infinity could stand for", () => {
    const large = Float32Array.of(1, 65520);
    expect(() => quantizeRows(formatNamed("F16"), large, 2, 1)).toThrow(/row 1.*F16/);
    expect(() => quantizeRows(formatNamed("BF16"), Float32Array.of(3.4e38), 1, 1)).toThrow(UsageError);
  });
});

describe("ggml's blocks, by hand", () => {
  it("Q4_0: the extreme −4 is code 0 at scale −4/−8 = 0.5", () => {
    const weights = Float32Array.from({ length: 32 }, (_, i) => ((i < 16 ? i : 31 - i) - 8) * 0.5);
    const codes = Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
    expect([...quantizeRows(formatNamed("Q4_0"), weights, 1, 32)]).toEqual([0x00, 0x38, ...codes]);
    expect(roundTrip(formatNamed("Q4_0"), weights, 1, 32)).toEqual(weights);
  });

  it("Q4_0: a positive extreme makes the scale negative; its opposite is clipped to code 15", () => {
    const weights = new Float32Array(32);
    weights.set([8, -8, 0.5, -0.5]);
    const block = quantizeRows(formatNamed("Q4_0"), weights, 1, 32);
    // Scale −1; 0.5 is −0.5 steps: −0.5 + 8.5 truncates to 8; −0.5 is 0.5 steps: 9.
    expect([...block.subarray(0, 7)]).toEqual([0x00, 0xbc, 0x80, 0x8f, 0x88, 0x89, 0x88]);
  });

  it("Q4_1: minimum −1, steps of 0.25", () => {
    const weights = Float32Array.from({ length: 32 }, (_, i) => (i % 16) * 0.25 - 1);
    const codes = Array.from({ length: 16 }, (_, i) => i * 0x11);
    const block = quantizeRows(formatNamed("Q4_1"), weights, 1, 32);
    expect([...block]).toEqual([0x00, 0x34, 0x00, 0xbc, ...codes]);
  });

  it("Q8_0: halves go away from zero", () => {
    const weights = new Float32Array(32);
    weights.set([63.5, 0.25, -0.25, 0.75, -0.75, 0.2, -63.5]);
    const block = quantizeRows(formatNamed("Q8_0"), weights, 1, 32);
    const signed = new Int8Array(block.buffer, 2, 8);
    expect([...block.subarray(0, 2)]).toEqual([0x00, 0x38]);
    expect([...signed]).toEqual([127, 1, -1, 2, -2, 0, -127, 0]);
  });

  it("Q8_0: codes come from the scale before it is rounded to f16", () => {
    const weights = new Float32Array(32);
    weights.set([1.03125, 0.53173828125]); // 65.48 steps of the f32 scale, 65.51 of the f16 one
    expect(quantizeRows(formatNamed("Q8_0"), weights, 1, 32)[3]).toBe(65);
  });
});

describe("the family's choice of scale", () => {
  it("is at least as good as Q4_0's in squared error", () => {
    fc.assert(
      fc.property(matrices, ({ weights, rows, cols }) => {
        const ours = squaredError(weights, roundTrip(formatNamed("4bit-g32-sym"), weights, rows, cols));
        const ggml = squaredError(weights, roundTrip(formatNamed("Q4_0"), weights, rows, cols));
        expect(ours).toBeLessThanOrEqual(ggml * (1 + 1e-6));
      }),
    );
  });

  it("takes the range that fits: −half … half − 1 steps or ±(half − 1)", () => {
    const format = formatNamed("2bit-g32-sym");
    const skewed = Float32Array.from({ length: 32 }, (_, i) => [-2, -1, 0, 1][i % 4]!);
    expect(roundTrip(format, skewed, 1, 32)).toEqual(skewed);
    const flipped = skewed.map((w) => -w);
    expect(roundTrip(format, flipped, 1, 32).map((w) => w + 0)).toEqual(flipped.map((w) => w + 0));
    const even = Float32Array.from({ length: 32 }, (_, i) => [-1, 0, 1, 1][i % 4]!);
    expect(roundTrip(format, even, 1, 32)).toEqual(even);
  });

  it("asymmetric: covers the weights and 0", () => {
    const format = formatNamed("2bit-g32");
    const positive = Float32Array.from({ length: 32 }, (_, i) => 3 - (i % 3));
    expect(roundTrip(format, positive, 1, 32)).toEqual(positive);
    const mixed = Float32Array.from({ length: 32 }, (_, i) => (i % 4) - 2);
    expect(roundTrip(format, mixed, 1, 32)).toEqual(mixed);
  });
});
