import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { type Activation, gate, softcapRows } from "../../src/kernels/gate.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normalDistribution } from "./normal-distribution.ts";
import { normals, paddedRows } from "./rows.ts";

/** In f64. */
const FUNCTIONS: Readonly<Record<Activation, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu_erf: (x) => x * normalDistribution(x),
  relu: (x) => Math.max(x, 0),
  clampedSilu: (x) => Math.min(x, 7) / (1 + Math.exp(-1.702 * Math.min(x, 7))),
};

/** [activation, gated, columns, rows, threads] */
type Choice = readonly [Activation, boolean, number, number, number];

const CHOICES: readonly Choice[] = [
  ["silu", true, 1, 1, 1],
  ["silu", true, 127, 3, 1],
  ["silu", true, 128, 2, 3],
  ["silu", true, 320, 5, 3],
  ["gelu", true, 127, 3, 3],
  ["gelu", false, 320, 2, 1],
  ["gelu_erf", true, 127, 3, 3],
  ["gelu_erf", false, 320, 2, 1],
  ["relu", true, 33, 2, 1],
  ["relu", false, 129, 3, 3],
  ["silu", false, 7, 1, 1],
  ["clampedSilu", true, 200, 3, 3],
];

/** What an activation is multiplied with. */
function factor(activation: Activation, up: number): number {
  return activation === "clampedSilu" ? Math.min(7, Math.max(-7, up)) + 1 : up;
}

function gateCase(isa: Isa, choice: Choice): KernelCase {
  const [activation, gated, cols, rows, threads] = choice;
  return {
    name: `${activation}${gated ? ", gated" : ""}, ${rows} rows of ${cols} values, ${threads} threads`,
    threads,
    make: () => gateWork(isa, choice),
  };
}

function gateWork(isa: Isa, [activation, gated, cols, rows]: Choice): Work {
  const rng = new Rng(cols);
  const gates = paddedRows(normals(rng, rows * cols, 4), cols);
  const ups = paddedRows(normals(rng, rows * cols, activation === "clampedSilu" ? 5 : 1), cols);
  const x = output("x", gates);
  const counts = input("counts", i32(rows));
  const kernel = gate({ cols, activation, gated }, isa);
  return {
    steps: [{ kernel, arguments: gated ? [x, input("up", ups), counts] : [x, counts] }],
    check: (after) => {
      const actual = floatsOf(after(x));
      expect(actual.length).toBe(rows * paddedCols(cols));
      gates.forEach((g, i) => {
        const expected = FUNCTIONS[activation](g) * (gated ? factor(activation, ups[i]!) : 1);
        const error = Math.abs(actual[i]! - expected);
        // Where these are next to nothing their exponent is large, and so is what rounding does to it.
        const isSteep = activation.startsWith("gelu") || activation === "clampedSilu";
        const tolerance = 2 ** -20 * Math.abs(expected) + (isSteep ? 1e-9 : 0);
        if (!(error <= tolerance)) expect.fail(`${i}: ${error} off ${expected}`);
      });
    },
  };
}

function softcapCase(isa: Isa, cap: number, cols: number, rows: number, threads: number): KernelCase {
  return {
    name: `${rows} rows of ${cols} values capped at ${cap}, ${threads} threads`,
    threads,
    make: () => {
      const values = paddedRows(normals(new Rng(cols), rows * cols, 2 * cap), cols);
      values.set([1e30, -1e30, 0].slice(0, cols));
      const x = output("x", values);
      return {
        steps: [{ kernel: softcapRows({ cols, cap }, isa), arguments: [x, input("counts", i32(rows))] }],
        check: (after) => {
          const actual = floatsOf(after(x));
          values.forEach((v, i) => {
            const error = Math.abs(actual[i]! - cap * Math.tanh(v / cap));
            if (!(error <= cap * 2 ** -21)) expect.fail(`${i}: ${error} off the cap of ${v}`);
          });
        },
      };
    },
  };
}

describeKernels("activations", (isa) => CHOICES.map((choice) => gateCase(isa, choice)));
describeKernels("soft caps", (isa) => [softcapCase(isa, 30, 320, 3, 3), softcapCase(isa, 5, 7, 1, 1)]);
