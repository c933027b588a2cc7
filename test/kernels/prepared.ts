import { expect } from "vitest";
import type { SignWords } from "../../src/ir/types.ts";
import type { ActivationLayout } from "../../src/kernels/activations.ts";
import { quantizeActivations } from "../../src/quant/reference.ts";
import { floatsOf } from "./bench.ts";

/** int8: every code, scale and sum as the oracle has it. f32: the values, and sums that are close. */
export function checkPrepared(layout: ActivationLayout, x: Float32Array, bytes: Uint8Array): void {
  const { activations, cols, block, blocks, segment, segments, scalesAt, sumsAt, sumBytes, rowBytes } =
    layout;
  const { signs, inputsAt } = layout;
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
      if (i < cols) expected[Math.floor(i / segment)]! += code * layout.sumFactor;
    });
    const stored =
      sumBytes === 2 ? Int32Array.from(new Int16Array(sums.buffer)) : new Int32Array(sums.buffer);
    expect(stored).toEqual(expected);
    if (signs !== undefined) expectTables(signs, own, row(t, inputsAt, rowBytes));
  }
}

/** Of the codes of every field, all sums with signs by the bits of a number: as i16, or what is below 32 and the 32s. */
function expectTables({ bits, fields }: SignWords, codes: Int8Array, tables: Uint8Array): void {
  const expected: number[] = [];
  for (let first = 0; first < codes.length; ) {
    for (const inputs of fields) {
      const field = codes.subarray(first, first + inputs);
      const sums = Array.from({ length: 2 ** inputs }, (_, signs) =>
        field.reduce((sum, code, i) => sum + (((signs >> i) & 1) === 1 ? code : -code), 0),
      );
      if (bits === 16) expected.push(...sums.flatMap((sum) => [sum & 255, (sum >> 8) & 255]));
      else expected.push(...sums.map((sum) => sum & 31), ...sums.map((sum) => (sum >> 5) & 255));
      first += inputs;
    }
  }
  expect(Buffer.compare(tables, Uint8Array.from(expected))).toBe(0);
}

function padded(values: Float32Array, length: number): Float32Array {
  const all = new Float32Array(length);
  all.set(values);
  return all;
}
