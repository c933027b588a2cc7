import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { type HeadNormSpec, headNorm } from "../../src/kernels/head-norm.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, normOf, paddedRows } from "./rows.ts";

const ROWS = 3;
const EPSILON = 1e-5;

/** [norm, heads, dimensions, own weights, threads] */
type Choice = readonly [HeadNormSpec["kind"], number, number, boolean, number];

const CHOICES: readonly Choice[] = [
  ["rms", 1, 1, false, 1],
  ["rms", 4, 10, false, 3],
  ["rms", 8, 64, false, 1],
  ["rms", 3, 80, true, 3],
  ["layer", 4, 10, true, 1],
  ["layer", 5, 128, false, 3],
  ["layer", 2, 33, true, 1],
];

function normCase(isa: Isa, [kind, heads, headDim, ownWeights, threads]: Choice): KernelCase {
  return {
    name: `${kind}, ${heads} heads of ${headDim}, ${ownWeights ? "own weights" : "the same weights"}, ${threads} threads`,
    threads,
    make: () => normWork(isa, { kind, heads, headDim, epsilon: EPSILON, ownWeights }),
  };
}

function normWork(isa: Isa, spec: HeadNormSpec): Work {
  const { kind, heads, headDim, ownWeights } = spec;
  const rng = new Rng(heads * headDim);
  const cols = heads * headDim;
  const values = normals(rng, ROWS * cols);
  const weights = normals(rng, ownWeights ? cols : headDim);
  const x = output("x", paddedRows(values, cols));
  const parts = [x, input("weight", paddedRows(weights, weights.length)), input("counts", i32(ROWS))];
  return {
    steps: [{ kernel: headNorm(spec, isa), arguments: parts }],
    check: (after) => {
      const heads = Array.from({ length: values.length / headDim }, (_, n) => n);
      const normed = heads.flatMap((n) => {
        const head = values.subarray(n * headDim, (n + 1) * headDim);
        return normOf(kind, head, EPSILON).map((v, i) => v * weights[(n * headDim + i) % weights.length]!);
      });
      const expected = paddedRows(normed, cols);
      const actual = floatsOf(after(x));
      expected.forEach((value, i) => {
        const error = Math.abs(actual[i]! - value);
        if (!(error <= 1e-6 * Math.max(1, Math.abs(value)))) expect.fail(`${i}: ${error} off ${value}`);
      });
    },
  };
}

describeKernels("norm of heads", (isa) => CHOICES.map((choice) => normCase(isa, choice)));
