import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { swiglu } from "../../src/kernels/swiglu.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, paddedRows } from "./rows.ts";

function swigluCase(isa: Isa, cols: number, rows: number, threads: number): KernelCase {
  return {
    name: `${rows} rows of ${cols} values, ${threads} threads`,
    threads,
    make: () => swigluWork(isa, cols, rows),
  };
}

function swigluWork(isa: Isa, cols: number, rows: number): Work {
  const rng = new Rng(cols);
  const gates = paddedRows(normals(rng, rows * cols, 4), cols);
  const ups = paddedRows(normals(rng, rows * cols), cols);
  const gate = output("gate", gates);
  const parts = [gate, input("up", ups), input("counts", i32(rows))];
  return {
    steps: [{ kernel: swiglu(cols, isa), arguments: parts }],
    check: (after) => {
      const actual = floatsOf(after(gate));
      expect(actual.length).toBe(rows * paddedCols(cols));
      gates.forEach((g, i) => {
        const expected = (g / (1 + Math.exp(-g))) * ups[i]!;
        const error = Math.abs(actual[i]! - expected);
        if (!(error <= 2 ** -20 * Math.abs(expected))) expect.fail(`${i}: ${error} off ${expected}`);
      });
    },
  };
}

describeKernels("swiglu", (isa) => [
  swigluCase(isa, 1, 1, 1),
  swigluCase(isa, 127, 3, 1),
  swigluCase(isa, 128, 2, 3),
  swigluCase(isa, 320, 5, 3),
]);
