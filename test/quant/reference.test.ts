import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import {
  CHUNK,
  chunkCount,
  FORMATS,
  formatNamed,
  groupSize,
  type QuantizedFormat,
} from "../../src/quant/formats.ts";
import {
  dequantizeRows,
  projectReference,
  quantizeActivations,
  segmentSize,
  unpackRow,
} from "../../src/quant/reference.ts";
import { randomMatrix, wholeBlocks } from "../kernels/matrices.ts";

const formats = [...FORMATS.values()];
const quantized = formats.filter((f): f is QuantizedFormat => f.kind === "quantized");

function named(name: string): QuantizedFormat {
  const format = formatNamed(name);
  if (format.kind !== "quantized") throw new Error(`${name} is a float format`);
  return format;
}

function normals(rng: Rng, length: number): Float32Array {
  return Float32Array.from({ length }, () => rng.normal());
}

describe("unpackRow", () => {
  it("reads a Q4_0 block", () => {
    const block = Uint8Array.of(0x00, 0xb8, ...Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4)));
    const row = unpackRow(named("Q4_0"), block, 32);
    expect([...row.codes]).toEqual(Array.from({ length: 32 }, (_, i) => (i < 16 ? i : 31 - i)));
    expect(row).toMatchObject({
      scales: Float32Array.of(-0.5),
      zeros: Uint8Array.of(8),
      minima: undefined,
    });
  });

  it("reads the minima of Q4_1, and codes of Q8_0 as unsigned", () => {
    const q4 = new Uint8Array(40);
    q4.set([0, 0x3c, 0, 0xc0], 0);
    q4.set([0, 0x40, 0, 0xbc], 20);
    const row = unpackRow(named("Q4_1"), q4, 64);
    expect([row.scales, row.minima, row.zeros]).toEqual([
      Float32Array.of(1, 2),
      Float32Array.of(-2, -1),
      Uint8Array.of(0, 0),
    ]);
    const q8 = new Uint8Array(34);
    q8.set([0, 0x3c, 0x80, 0xff, 0x7f]);
    expect([...unpackRow(named("Q8_0"), q8, 32).codes.subarray(0, 4)]).toEqual([0, 127, 255, 128]);
    expect([...dequantizeRows(named("Q8_0"), q8, 1, 32).subarray(0, 4)]).toEqual([-128, -1, 127, 0]);
  });

  it("reads stored zero points, a ragged group and padding", () => {
    const format = named("3bit-g32");
    const bytes = new Uint8Array(2 * 15);
    bytes.set([0, 0x3c, 5, 0b1000_0010, 0b1], 0); // inputs 0 and 2, whose bits are in two bytes
    bytes[3 + 3] = 0b1; // input 8
    bytes[3 + 10] = 0b100_0000; // input 28
    bytes.set([0, 0x40, 2], 15);
    bytes[15 + 3] = 0b100; // input 32
    const { codes, scales, zeros } = unpackRow(format, bytes, 33);
    expect([codes.length, codes[0], codes[2], codes[8], codes[28], codes[32]]).toEqual([33, 2, 6, 1, 4, 4]);
    expect([scales, zeros]).toEqual([Float32Array.of(1, 2), Uint8Array.of(5, 2)]);
    const weights = dequantizeRows(format, bytes, 1, 33);
    expect([weights[0], weights[2], weights[28], weights[32]]).toEqual([-3, 1, -1, 4]);
  });

  it("refuses bytes of another size", () => {
    expect(() => unpackRow(named("Q4_0"), new Uint8Array(17), 32)).toThrow(UsageError);
    expect(() => dequantizeRows(formatNamed("F16"), new Uint8Array(7), 2, 2)).toThrow(UsageError);
  });
});

describe("quantizeActivations", () => {
  it("rounds halves to even and has no −128", () => {
    const x = Float32Array.of(127, -127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49);
    const { codes, scales, sums } = quantizeActivations(x, x.length, "row");
    expect([...codes.subarray(0, 9)]).toEqual([127, -127, 0, 2, 2, 0, -2, -2, 0]);
    expect([...codes.subarray(9)]).toEqual(new Array(23).fill(0));
    expect([scales, sums]).toEqual([Float32Array.of(1), Int32Array.of(0)]);
  });

  it("keeps every input within half a step, in blocks of any size, for any number of tokens", () => {
    const cases = fc.record({
      seed: fc.nat(),
      tokens: fc.integer({ min: 1, max: 3 }),
      cols: fc.constantFrom(1, 7, 31, 32, 33, 127, 172, 256),
      block: fc.constantFrom<(number | "row")[]>(32, 64, 128, "row"),
      size: fc.integer({ min: -100, max: 100 }),
    });
    fc.assert(
      fc.property(cases, ({ seed, tokens, cols, block, size }) => {
        const x = normals(new Rng(seed), tokens * cols).map((value) => value * 2 ** size);
        const { codes, scales, sums } = quantizeActivations(x, cols, block);
        const blockInputs = block === "row" ? cols : block;
        const blocks = Math.ceil(cols / blockInputs);
        const chunks = chunkCount(cols);
        expect([codes.length, scales.length, sums.length]).toEqual([
          tokens * chunks * CHUNK,
          tokens * blocks,
          tokens * chunks,
        ]);
        let worst = 0; // in steps
        for (let t = 0; t < tokens; t++) {
          for (let i = 0; i < cols; i++) {
            const scale = scales[t * blocks + Math.floor(i / blockInputs)]!;
            const error = Math.abs(x[t * cols + i]! - scale * codes[t * chunks * CHUNK + i]!);
            worst = Math.max(worst, error / scale);
          }
        }
        expect(worst).toBeLessThanOrEqual(0.5001);
        sums.forEach((sum, c) => {
          const chunk = codes.subarray(c * CHUNK, (c + 1) * CHUNK);
          expect(sum).toBe(chunk.reduce((total, code) => total + code, 0));
        });
      }),
    );
  });

  it("has scale 0 for a block of zeros, and no NaN for inputs whose inverse scale overflows", () => {
    const x = new Float32Array(64);
    x.set([1e-40, 0, -1e-40], 32);
    const { codes, scales } = quantizeActivations(x, 64, 32);
    expect(scales[0]).toBe(0);
    expect(Math.abs(codes[33]!)).toBe(0);
    expect(Number.isFinite(scales[1])).toBe(true);
  });

  it("refuses other blocks and parts of tokens", () => {
    for (const block of [0, -32, 33, 48.5, Number.NaN]) {
      expect(() => quantizeActivations(new Float32Array(64), 64, block)).toThrow(UsageError);
    }
    expect(() => quantizeActivations(new Float32Array(65), 64, 32)).toThrow(UsageError);
    expect(quantizeActivations(new Float32Array(33), 33, 33).scales.length).toBe(1);
  });
});

describe("segmentSize", () => {
  it.each([
    ["Q4_0", 256, 128, 32],
    ["4bit-g128", 256, 32, 32],
    ["4bit-g128", 172, "row", 128],
    ["4bit-row", 172, 64, 64],
    ["4bit-row", 172, "row", 172],
    ["4bit-g128", 31, 32, 31],
  ] as const)("%s, %d inputs, blocks of %s: %d", (name, cols, block, segment) => {
    expect(segmentSize(named(name), cols, block)).toBe(segment);
  });

  it("refuses sizes of which neither divides the other", () => {
    expect(() => segmentSize(named("4bit-g64"), 256, 96)).toThrow(UsageError);
  });
});

describe("projectReference", () => {
  const rows = 3;
  const tokens = 2;

  it.each(formats)("$name with f32 activations is the product with the dequantized weights", (format) => {
    const cols = wholeBlocks(format, 172);
    const rng = new Rng(1);
    const source = randomMatrix(format, rows, cols, rng);
    const x = normals(rng, tokens * cols);
    const weights = dequantizeRows(format, source, rows, cols);
    const { result, segmentSums } = projectReference(format, source, rows, cols, x, { kind: "f32" });
    expect(segmentSums).toBeUndefined();
    for (let n = 0; n < tokens * rows; n++) {
      const [t, r] = [Math.floor(n / rows), n % rows];
      let expected = 0;
      for (let i = 0; i < cols; i++) expected += weights[r * cols + i]! * x[t * cols + i]!;
      expect(result[n]).toBeCloseTo(expected, 10);
    }
  });

  it.each(quantized)("$name with int8 activations sums what the codes stand for", (format) => {
    for (const cols of [7, 33, 172, 256].map((wanted) => wholeBlocks(format, wanted))) {
      for (const block of [32, 64, 128, "row"] as const) {
        const rng = new Rng(cols);
        const source = randomMatrix(format, rows, cols, rng);
        const x = normals(rng, tokens * cols);
        const found = projectReference(format, source, rows, cols, x, { kind: "int8", block });
        const expected = projectByWeights(format, source, cols, x, block);
        found.result.forEach((value, n) => void expect(value).toBeCloseTo(expected.result[n]!, 4));
        expect([...(found.segmentSums ?? [])]).toEqual(expected.segmentSums);
      }
    }
  });

  /** The same, weight by weight. */
  function projectByWeights(
    format: QuantizedFormat,
    source: Uint8Array,
    cols: number,
    x: Float32Array,
    block: number | "row",
  ) {
    const activations = quantizeActivations(x, cols, block);
    const blockInputs = block === "row" ? cols : block;
    const blocks = Math.ceil(cols / blockInputs);
    const segment = Math.min(groupSize(format, cols), blockInputs, cols);
    const segments = Math.ceil(cols / segment);
    const weights = dequantizeRows(format, source, rows, cols);
    const perRow = rowBytes(format, cols);
    const result = new Array<number>(tokens * rows).fill(0);
    const segmentSums = new Array<number>(tokens * rows * segments).fill(0);
    for (let n = 0; n < tokens * rows; n++) {
      const [t, r] = [Math.floor(n / rows), n % rows];
      const { codes } = unpackRow(format, source.subarray(r * perRow, (r + 1) * perRow), cols);
      for (let i = 0; i < cols; i++) {
        const code = activations.codes[t * chunkCount(cols) * CHUNK + i]!;
        const scale = activations.scales[t * blocks + Math.floor(i / blockInputs)]!;
        result[n]! += weights[r * cols + i]! * scale * code;
        segmentSums[n * segments + Math.floor(i / segment)]! += codes[i]! * code;
      }
    }
    return { result, segmentSums };
  }

  it("refuses float weights with int8 activations, and sums that overflow an i32", () => {
    const int8 = { kind: "int8", block: "row" } as const;
    const f16 = formatNamed("F16");
    expect(() => projectReference(f16, new Uint8Array(64), 1, 32, new Float32Array(32), int8)).toThrow(
      UsageError,
    );
    const cols = 70_016;
    const format = named("8bit-row");
    const source = new Uint8Array(rowBytes(format, cols)).fill(0xff);
    const ones = new Float32Array(cols).fill(1);
    expect(() => projectReference(format, source, 1, cols, ones, int8)).toThrow(/overflows an i32/);
  });
});
