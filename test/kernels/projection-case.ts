import { expect } from "vitest";
import type { Kernel } from "../../src/ir/types.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { type ActivationLayout, activationLayout, paddedCols } from "../../src/kernels/activations.ts";
import { pack, wholeBlocks } from "../../src/kernels/pack.ts";
import { prepare } from "../../src/kernels/prepare.ts";
import { type ProjectionSpec, projection } from "../../src/kernels/projection.ts";
import { tilesArgument } from "../../src/kernels/records.ts";
import { scratchBytes } from "../../src/kernels/weight-source.ts";
import { type Packing, packing } from "../../src/quant/packing.ts";
import { packReference, projectReference } from "../../src/quant/reference.ts";
import { type After, floatsOf, i32, input, type KernelCase, output, POISON, type Work } from "./bench.ts";
import { magnitudes } from "./magnitudes.ts";
import { checkPrepared } from "./prepared.ts";
import { paddedRows } from "./rows.ts";

/** A projection on one matrix. */
export interface Shape extends ProjectionSpec {
  readonly rows: number;
  readonly tokens: number;
  readonly threads: number;
  readonly accumulate: boolean;
}

/** What it is computed from. */
export interface Data {
  /** [rows, cols] in row-major blocks. */
  readonly source: Uint8Array;
  /** [tokens, cols] */
  readonly x: Float32Array;
  /** What an accumulating projection adds to: [tokens, rows]. */
  readonly before: Float32Array;
  /** Whether every sum is exact in f32, in whatever order. */
  readonly exact: boolean;
}

/** The kernels of a shape, which all its data share. */
interface Kernels {
  readonly packed: Packing;
  readonly layout: ActivationLayout;
  readonly pack: Kernel;
  readonly prepare: Kernel;
  readonly project: Kernel;
}

function kernelsOf(isa: Isa, shape: Shape): Kernels {
  const { format, rows, cols, blocking, activations } = shape;
  const packed = packing(format, rows, cols, blocking.tu / isa.lanes, isa);
  const layout = activationLayout(activations, format, cols, isa);
  return {
    packed,
    layout,
    pack: pack(packed, isa),
    prepare: prepare(layout, isa),
    project: projection(shape, isa),
  };
}

export interface ProjectionWork extends Work {
  /** Compares the outputs alone. */
  checkOutputs(after: After): void;
}

/** pack, prepare and project, each compared with its oracle, for several data. */
export function projectionCases(
  isa: Isa,
  shape: Shape,
  data: readonly ((shape: Shape) => Data)[],
): KernelCase[] {
  let kernels: Kernels | undefined;
  return data.map((of) => ({
    name: `${nameOf(shape)}, ${of.name}`,
    threads: shape.threads,
    make: () => {
      kernels ??= kernelsOf(isa, shape);
      return workOf(isa, shape, kernels, of(shape));
    },
  }));
}

/** The work of one case; `given` is what the pack kernel gets. */
export function projectionWork(isa: Isa, shape: Shape, data: Data, given = data.source): ProjectionWork {
  return workOf(isa, shape, kernelsOf(isa, shape), data, given);
}

function workOf(isa: Isa, shape: Shape, kernels: Kernels, data: Data, given = data.source): ProjectionWork {
  const { rows, cols, tokens } = shape;
  const { packed, layout } = kernels;
  const stride = paddedCols(packed.tiles * packed.tileRows);
  const weights = output("weights", packed.totalBytes);
  const prepared = output("prepared", tokens * layout.rowBytes);
  const y = output("y", initialOutputs(shape, data, stride));
  const counts = input("counts", i32(tokens));
  const source = input("source", given);
  const scratch = output("scratch", shape.threads * scratchBytes(shape, isa));
  const x = input("x", paddedRows(data.x, cols));
  const checkOutputs: ProjectionWork["checkOutputs"] = (after) =>
    compareOutputs(shape, data, kernels, stride, floatsOf(after(y)));
  return {
    steps: [
      {
        kernel: kernels.pack,
        arguments: [source, weights, 0, packed.tiles, rows, wholeBlocks(packed), ...tilesArgument(packed)],
      },
      { kernel: kernels.prepare, arguments: [x, prepared, counts] },
      {
        kernel: kernels.project,
        arguments: [
          ...[weights, prepared, y, 4 * stride, packed.tiles, counts],
          ...[shape.blocking.tb / shape.blocking.tu, shape.accumulate ? 1 : 0],
          ...(shape.blocking.expand ? [scratch] : []),
          ...(shape.bias ? [input("bias", paddedRows(biasOf(shape), rows))] : []),
        ],
      },
    ],
    checkOutputs,
    check: (after) => {
      expect(Buffer.compare(after(weights), packReference(packed, isa, data.source)), "packed").toBe(0);
      checkPrepared(layout, data.x, after(prepared));
      checkOutputs(after);
    },
  };
}

function nameOf({
  format,
  rows,
  cols,
  tokens,
  blocking,
  activations,
  accumulate,
  bias,
  threads,
}: Shape): string {
  const { mb, tb, mu, tu, nu, expand } = blocking;
  const inputs = activations.kind === "f32" ? "f32" : `int8 by ${activations.block}`;
  const into = `${accumulate ? ", added" : ""}${bias ? ", with bias" : ""}`;
  return (
    `${format.name} ${rows} x ${cols}, ${tokens} tokens of ${inputs}${into}, ` +
    `mb ${mb} tb ${tb} mu ${mu} tu ${tu} nu ${nu}${expand ? " expanded" : ""}, ${threads} threads`
  );
}

/** Whole numbers, so that sums stay exact; zeros past the last row. */
function biasOf({ rows }: Shape): Float32Array {
  return Float32Array.from({ length: rows }, (_, r) => (r % 7) - 3);
}

/** Poison, or what is added to; zeros in the rows of the last tile that the matrix does not have. */
function initialOutputs({ rows, tokens, accumulate }: Shape, { before }: Data, stride: number): Float32Array {
  const y = new Float32Array(tokens * stride);
  if (!accumulate) return new Float32Array(new Uint8Array(y.buffer).fill(POISON).buffer);
  for (let t = 0; t < tokens; t++) y.set(before.subarray(t * rows, (t + 1) * rows), t * stride);
  return y;
}

/** Outputs against the oracle: equal where sums are exact, else within the rounding of f32. */
function compareOutputs(
  shape: Shape,
  data: Data,
  { packed, layout }: Kernels,
  stride: number,
  y: Float32Array,
): void {
  const { format, rows, cols, tokens, activations, accumulate } = shape;
  const { result } = projectReference(format, data.source, rows, cols, data.x, activations);
  const sizes = magnitudes(format, data.source, rows, cols, data.x);
  const terms = activations.kind === "int8" ? layout.segments : cols;
  const bias = shape.bias ? biasOf(shape) : new Float32Array(rows);
  const roundings = 8 + 4 * Math.sqrt(terms);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < stride; r++) {
      const actual = y[t * stride + r]!;
      const before = accumulate && r < rows ? data.before[t * rows + r]! : 0;
      const added = r < rows ? before + bias[r]! : 0;
      if (r >= packed.tiles * packed.tileRows) continue;
      if (r >= rows) {
        if (actual !== 0) expect.fail(`token ${t}, row ${r} past the last: ${actual}`);
        continue;
      }
      const expected = result[t * rows + r]! + added;
      const allowed = data.exact
        ? 0
        : roundings * 2 ** -24 * (sizes[t * rows + r]! + Math.abs(before) + Math.abs(added));
      if (!(Math.abs(actual - expected) <= allowed))
        expect.fail(`token ${t}, row ${r}: ${actual}, expected ${expected} to ${allowed}`);
    }
  }
}
