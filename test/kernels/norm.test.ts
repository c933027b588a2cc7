import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { type NormSpec, norm } from "../../src/kernels/norm.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, normOf, paddedRows } from "./rows.ts";

interface Shape {
  readonly cols: number;
  readonly rows: number;
  /** Input rows that are taken, in order; all without it. */
  readonly list?: readonly number[];
  readonly threads: number;
  /** What the inputs are multiplied by. */
  readonly size?: number;
  /** What is added to the inputs. */
  readonly offset?: number;
  readonly how?: Partial<NormSpec>;
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
  { cols: 200, rows: 3, threads: 1, how: { accumulate: true } },
  { cols: 7, rows: 2, threads: 1, how: { kind: "layer" } },
  { cols: 1, rows: 2, threads: 1, how: { kind: "layer", bias: true } },
  { cols: 129, rows: 3, threads: 3, offset: 100, how: { kind: "layer", bias: true } },
  { cols: 320, rows: 4, list: [3, 0, 3], threads: 1, offset: -3, how: { kind: "layer", bias: true } },
  { cols: 128, rows: 2, threads: 1, how: { kind: "layer", bias: true, accumulate: true } },
];

const EPSILON = 1e-5;

function normCase(isa: Isa, shape: Shape): KernelCase {
  const { cols, rows, list, threads, size = 1, offset = 0, how } = shape;
  return {
    name: `${list?.length ?? rows} of ${rows} rows of ${cols} values of size ${size} around ${offset}, ${threads} threads ${JSON.stringify(how ?? {})}`,
    threads,
    make: () => normWork(isa, shape),
  };
}

function normWork(isa: Isa, { cols, rows, list, size = 1, offset = 0, how = {} }: Shape): Work {
  const rng = new Rng(cols + rows);
  const values = normals(rng, rows * cols, size).map((value) => value + offset);
  const weights = normals(rng, cols);
  const biases = normals(rng, cols);
  const stride = paddedCols(cols);
  const taken = list ?? Array.from({ length: rows }, (_, i) => i);
  const before = normals(rng, taken.length * cols);
  const gather = list !== undefined;
  const spec = {
    kind: "rms",
    cols,
    epsilon: EPSILON,
    gather,
    bias: false,
    accumulate: false,
    ...how,
  } as const;
  const x = input("x", paddedRows(values, cols));
  const y = output("y", paddedRows(before, cols));
  const parts = [x, input("weight", paddedRows(weights, cols)), y, input("counts", i32(taken.length))];
  if (list !== undefined) parts.push(input("list", i32(...list)));
  if (spec.bias) parts.push(input("bias", paddedRows(biases, cols)));
  return {
    steps: [{ kernel: norm(spec, isa), arguments: parts }],
    check: (after) => {
      const actual = floatsOf(after(y));
      taken.forEach((row, n) => {
        const normed = normOf(spec.kind, values.subarray(row * cols, (row + 1) * cols), EPSILON);
        for (let i = 0; i < stride; i++) {
          const added = (spec.bias ? biases[i]! : 0) + (spec.accumulate ? before[n * cols + i]! : 0);
          const expected = i < cols ? normed[i]! * weights[i]! + added : 0;
          const error = Math.abs(actual[n * stride + i]! - expected);
          // A mean is rounded to f32.
          const tolerance = 1e-6 * Math.abs(expected) + (spec.kind === "rms" && added === 0 ? 0 : 2e-5);
          if (!(error <= tolerance)) expect.fail(`row ${n}, ${i}: ${error} off ${expected}`);
        }
      });
    },
  };
}

describeKernels("rmsnorm", (isa) => SHAPES.map((shape) => normCase(isa, shape)));
