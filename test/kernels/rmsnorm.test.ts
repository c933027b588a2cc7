import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { rmsNorm } from "../../src/kernels/rmsnorm.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, paddedRows } from "./rows.ts";

interface Shape {
  readonly cols: number;
  readonly rows: number;
  /** Input rows that are taken, in order; all without it. */
  readonly list?: readonly number[];
  readonly threads: number;
  /** What the inputs are multiplied by. */
  readonly size?: number;
}

const SHAPES: readonly Shape[] = [
  { cols: 1, rows: 1, threads: 1 },
  { cols: 7, rows: 2, threads: 1 },
  { cols: 64, rows: 3, threads: 3 },
  { cols: 127, rows: 1, threads: 1 },
  { cols: 128, rows: 5, threads: 3 },
  { cols: 129, rows: 2, threads: 1 },
  { cols: 320, rows: 4, list: [3, 0, 3], threads: 1 },
  { cols: 320, rows: 9, list: [8, 1], threads: 3 },
  { cols: 320, rows: 2, threads: 1, size: 1e-6 },
  { cols: 320, rows: 2, threads: 1, size: 1e15 },
];

const EPSILON = 1e-5;

function normCase(isa: Isa, shape: Shape): KernelCase {
  const { cols, rows, list, threads, size = 1 } = shape;
  return {
    name: `${list?.length ?? rows} of ${rows} rows of ${cols} values around ${size}, ${threads} threads`,
    threads,
    make: () => normWork(isa, shape),
  };
}

function normWork(isa: Isa, { cols, rows, list, size = 1 }: Shape): Work {
  const rng = new Rng(cols + rows);
  const values = normals(rng, rows * cols, size);
  const weights = normals(rng, cols);
  const stride = paddedCols(cols);
  const taken = list ?? Array.from({ length: rows }, (_, i) => i);
  const x = input("x", paddedRows(values, cols));
  const y = output("y", new Float32Array(taken.length * stride));
  const kernel = rmsNorm({ cols, epsilon: EPSILON, gather: list !== undefined }, isa);
  const parts = [x, input("weight", paddedRows(weights, cols)), y, input("counts", i32(taken.length))];
  return {
    steps: [{ kernel, arguments: list === undefined ? parts : [...parts, input("list", i32(...list))] }],
    check: (after) => {
      const actual = floatsOf(after(y));
      taken.forEach((row, n) => {
        const from = values.subarray(row * cols, (row + 1) * cols);
        const mean = from.reduce((sum, v) => sum + v * v, 0) / cols;
        for (let i = 0; i < stride; i++) {
          const expected = i < cols ? (from[i]! / Math.sqrt(mean + EPSILON)) * weights[i]! : 0;
          const error = Math.abs(actual[n * stride + i]! - expected);
          if (!(error <= 1e-6 * Math.abs(expected))) expect.fail(`row ${n}, ${i}: ${error} off ${expected}`);
        }
      });
    },
  };
}

describeKernels("rmsnorm", (isa) => SHAPES.map((shape) => normCase(isa, shape)));
