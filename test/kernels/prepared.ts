import { expect } from "vitest";
import type { ActivationLayout } from "../../src/kernels/activations.ts";
import { quantizeActivations } from "../../src/quant/reference.ts";
import { floatsOf } from "./bench.ts";

/** int8: every code, scale and sum as the oracle has it. f32: the values, and sums that are close. */
export function checkPrepared(layout: ActivationLayout, x: Float32Array, bytes: Uint8Array): void {
  const { activations, cols, block, blocks, segment, segments, scalesAt, sumsAt, sumBytes, rowBytes } =
    layout;
  const { tablesAt } = layout;
  const tokens = x.length / cols;
  const row = (t: number, from: number, to: number) => bytes.slice(t * rowBytes + from, t * rowBytes + to);
  const quantized = activations.kind === "int8" ? quantizeActivations(x, cols, block) : undefined;
  for (let t = 0; t < tokens; t++) {
    const inputs = x.subarray(t * cols, (t + 1) * cols);
    const sums = row(t, sumsAt, sumsAt + sumBytes * segments);
    if (quantized === undefined) {
      expect(floatsOf(row(t, 0, scalesAt))).toEqual(padded(inputs, scalesAt / 4));
      floatsOf(sums).forEach((sum, s) => {
        const part = inputs.subarray(s * segment, (s + 1) * segment);
        const size = part.reduce((total, v) => total + Math.abs(v), 0);
        const expected = part.reduce((total, v) => total + v, 0);
        expect(Math.abs(sum - expected)).toBeLessThanOrEqual(size * 2 ** -20);
      });
      continue;
    }
    const { codes, scales } = quantized;
    const paddedInputs = scalesAt;
    const own = codes.subarray(t * paddedInputs, (t + 1) * paddedInputs);
    expect(new Int8Array(row(t, 0, scalesAt).buffer)).toEqual(own);
    expect(floatsOf(row(t, scalesAt, sumsAt))).toEqual(scales.slice(t * blocks, (t + 1) * blocks));
    const expected = new Int32Array(segments);
    own.forEach((code, i) => {
      if (i < cols) expected[Math.floor(i / segment)]! += code;
    });
    const stored =
      sumBytes === 2 ? Int32Array.from(new Int16Array(sums.buffer)) : new Int32Array(sums.buffer);
    expect(stored).toEqual(expected);
    if (tablesAt !== undefined) expectTables(own, row(t, tablesAt, rowBytes));
  }
}

/** Of every four codes, all sums with signs by the bits of a number: what is below 32, and the 32s. */
function expectTables(codes: Int8Array, tables: Uint8Array): void {
  const sum = (q: number, signs: number) =>
    [0, 1, 2, 3].reduce((s, i) => s + (((signs >> i) & 1) === 1 ? 1 : -1) * codes[4 * q + i]!, 0);
  const expected = Uint8Array.from({ length: 8 * codes.length }, (_, i) => {
    const s = sum(i >> 5, i & 15);
    return (i & 16) === 0 ? s & 31 : s >> 5;
  });
  expect(Buffer.compare(tables, expected)).toBe(0);
}

function padded(values: Float32Array, length: number): Float32Array {
  const all = new Float32Array(length);
  all.set(values);
  return all;
}
