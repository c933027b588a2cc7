import { expect } from "vitest";
import { at } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { activationLayout, paddedCols } from "../../src/kernels/activations.ts";
import { prepare } from "../../src/kernels/prepare.ts";
import { type ProjectionSpec, projection } from "../../src/kernels/projection.ts";
import { EXPERT_BYTES } from "../../src/kernels/route.ts";
import { scratchBytes } from "../../src/kernels/weight-source.ts";
import { formatNamed, isSigns } from "../../src/quant/formats.ts";
import { packing } from "../../src/quant/packing.ts";
import { packReference, projectReference } from "../../src/quant/reference.ts";
import { panelInputs } from "../../src/quant/sign-words.ts";
import { describeKernels, floatsOf, i32, input, output, type Work } from "./bench.ts";
import { magnitudes } from "./magnitudes.ts";
import { randomMatrix } from "./matrices.ts";
import { normals, paddedRows } from "./rows.ts";

/** Experts' matrices, and the tokens of every expert in turn. */
interface Stack {
  readonly format: string;
  readonly rows: number;
  readonly cols: number;
  readonly inputs: "of tokens" | "of slots";
  /** Tokens of every expert, those without any too. */
  readonly tokens: readonly (readonly number[])[];
  readonly tile: number;
  readonly nu: number;
  readonly expand?: boolean;
  readonly f32?: boolean;
  readonly bias?: boolean;
  readonly threads: number;
}

const STACKS: readonly Stack[] = [
  {
    ...{ format: "F32", rows: 33, cols: 31, inputs: "of tokens", tile: 1, nu: 2, f32: true, threads: 1 },
    tokens: [[0, 2, 3], [], [1, 2, 3, 4, 5], [0]],
  },
  {
    ...{ format: "Q4_0", rows: 100, cols: 96, inputs: "of tokens", tile: 2, nu: 3, threads: 3 },
    tokens: [[], [4, 5, 6, 7, 9, 11, 12], [0], [], [1, 2]],
  },
  {
    ...{ format: "Q4_0", rows: 40, cols: 64, inputs: "of slots", tile: 1, nu: 2, threads: 7, bias: true },
    tokens: [[0], [0], [0]],
  },
  {
    ...{ format: "Q4_K", rows: 24, cols: 512, inputs: "of slots", tile: 1, nu: 2, threads: 3, expand: true },
    tokens: [[0, 1, 2, 3, 4, 5, 6, 7, 8], [], [9]],
  },
  {
    ...{ format: "Q4_K", rows: 7, cols: 256, inputs: "of tokens", tile: 2, nu: 1, threads: 1 },
    tokens: [[], [], [2, 1, 0]],
  },
  {
    // Each expert has panels of its own.
    ...{ format: "Q1_0", rows: 70, cols: 1152, inputs: "of tokens", tile: 4, nu: 2, threads: 3 },
    tokens: [[1], [], [0, 1, 2]],
  },
  {
    ...{
      format: "3bit-g32",
      rows: 50,
      cols: 65,
      inputs: "of tokens",
      tile: 1,
      nu: 4,
      threads: 3,
      expand: true,
    },
    tokens: [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [3]],
  },
];

function specOf(
  isa: Isa,
  { format: name, cols, inputs, tile, nu, expand = false, f32, bias = false }: Stack,
): ProjectionSpec {
  const format = formatNamed(name);
  const tu = tile * isa.lanes;
  return {
    format,
    cols,
    activations: f32 ? { kind: "f32" } : { kind: "int8", block: 32 },
    blocking: {
      mb: isSigns(format) ? Math.min(panelInputs(isa.signs), cols) : cols,
      tb: 2 * tu,
      mu: 32,
      tu,
      nu,
      expand,
    },
    bias,
    experts: inputs,
  };
}

function stackWork(isa: Isa, stack: Stack): Work {
  const { rows, cols, tokens, inputs, threads } = stack;
  const spec = specOf(isa, stack);
  const { format, activations, blocking } = spec;
  const rng = new Rng(rows);
  const packed = packing(format, rows, cols, stack.tile, isa);
  const layout = activationLayout(activations, format, cols, isa);
  const sources = tokens.map(() => randomMatrix(format, rows, cols, rng));
  const biases = tokens.map((_, e) => Array.from({ length: rows }, (_, r) => (stack.bias ? e + r - 9 : 0)));
  const slots = tokens.flat();
  const xRows = inputs === "of slots" ? slots.length : Math.max(...slots) + 1;
  const x = normals(rng, xRows * cols);
  const stride = paddedCols(packed.tiles * packed.tileRows);
  const met = tokens.flatMap((own, expert) => (own.length === 0 ? [] : [{ own, expert }]));
  const entries = new Int32Array((met.length * EXPERT_BYTES) / 4);
  let first = 0;
  met.forEach(({ own, expert }, n) => {
    entries.set([expert, first, own.length], (n * EXPERT_BYTES) / 4);
    first += own.length;
  });
  const prepared = output("prepared", xRows * layout.rowBytes);
  const weights = input(
    "weights",
    Buffer.concat(sources.map((source) => packReference(packed, isa, source))),
  );
  const y = output("y", 4 * slots.length * stride);
  return {
    steps: [
      {
        kernel: prepare(layout, isa),
        arguments: [input("x", paddedRows(x, cols)), prepared, input("counts", i32(xRows))],
      },
      {
        kernel: projection(spec, isa),
        arguments: [
          ...[weights, prepared, y, 4 * stride, packed.tiles, input("experts met", i32(met.length))],
          ...[blocking.tb / blocking.tu, 0],
          ...(blocking.expand ? [output("scratch", threads * scratchBytes(spec, isa))] : []),
          ...(stack.bias ? [input("bias", paddedRows(biases.flat(), rows))] : []),
          input("experts", entries),
          ...(inputs === "of tokens" ? [input("tokens", Int32Array.from(slots))] : []),
        ],
      },
    ],
    check: (after) => {
      const actual = floatsOf(after(y));
      let slot = 0;
      tokens.forEach((own, expert) => {
        for (const token of own) {
          const row = inputs === "of slots" ? slot : token;
          const one = x.subarray(row * cols, (row + 1) * cols);
          const source = at(sources, expert);
          const { result } = projectReference(format, source, rows, cols, one, activations);
          const sizes = magnitudes(format, source, rows, cols, one);
          result.forEach((product, r) => {
            const bias = at(at(biases, expert), r);
            const expected = product + bias;
            const error = Math.abs(at(actual, slot * stride + r) - expected);
            const allowed = (8 + 4 * Math.sqrt(cols)) * 2 ** -24 * (at(sizes, r) + Math.abs(bias));
            if (!(error <= allowed)) expect.fail(`slot ${slot}, row ${r}: ${error} off ${expected}`);
          });
          slot++;
        }
      });
    },
  };
}

describeKernels("projections of experts", (isa) =>
  STACKS.map((stack) => ({
    name: `${stack.format} ${stack.rows} x ${stack.cols}, inputs ${stack.inputs}, ${stack.threads} threads`,
    threads: stack.threads,
    make: () => stackWork(isa, stack),
  })),
);
