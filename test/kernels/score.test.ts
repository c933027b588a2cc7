import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { SCORE, score } from "../../src/kernels/score.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, paddedRows } from "./rows.ts";

interface Shape {
  readonly what?: string;
  readonly cols: number;
  readonly rows: number;
  readonly threads?: number;
  /** Changes the logits of row 0. */
  readonly edit?: (row: Float32Array) => void;
  /** Changes the base's. */
  readonly editBase?: (row: Float32Array) => void;
  /** Whether the base has the same logits. */
  readonly equal?: boolean;
}

const SHAPES: readonly Shape[] = [
  { cols: 1, rows: 1 },
  { cols: 7, rows: 3, threads: 2 },
  { cols: 128, rows: 2 },
  { cols: 131, rows: 5, threads: 3 },
  { cols: 512, rows: 0 },
  { cols: 1009, rows: 2 },
  { what: "equal rows", cols: 300, rows: 2, equal: true },
  {
    what: "huge logits",
    cols: 100,
    rows: 1,
    edit: (row) => row.forEach((x, i) => row.fill(x * 1e30, i, i + 1)),
  },
  { what: "a logit of -inf", cols: 100, rows: 1, edit: (row) => row.fill(Number.NEGATIVE_INFINITY, 3, 4) },
  { what: "a base of -inf", cols: 100, rows: 1, editBase: (row) => row.fill(Number.NEGATIVE_INFINITY, 3, 4) },
  { what: "a NaN", cols: 100, rows: 2, edit: (row) => row.fill(Number.NaN, 99, 100) },
  { what: "an infinite logit", cols: 100, rows: 2, edit: (row) => row.fill(Number.POSITIVE_INFINITY, 0, 1) },
  { what: "all -inf", cols: 20, rows: 1, edit: (row) => row.fill(Number.NEGATIVE_INFINITY) },
  {
    what: "many unlikely tokens beside a likely one",
    cols: 20_000,
    rows: 1,
    edit: (row) => row.fill(0).fill(18, 5, 6),
    editBase: (row) => row.fill(0).fill(19, 5, 6),
  },
];

/** Natural logarithms of the probabilities, in f64. */
function logProbabilities(logits: Float32Array): Float64Array {
  const largest = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Float64Array.from(logits, (logit) => logit - largest - Math.log(sum));
}

function near(what: string, actual: number, expected: number, tolerance: number): void {
  if (actual === expected || Math.abs(actual - expected) <= tolerance) return;
  expect.fail(`${what}: ${actual} instead of ${expected}`);
}

/** The log-probability in a record, the model's or the base's. */
function logOf(record: Float32Array, at: number): number {
  const [largest, sum, target] = record.subarray(at, at + 3) as unknown as [number, number, number];
  return target - largest - Math.log(sum);
}

function check(
  record: Float32Array,
  logits: Float32Array,
  base: Float32Array | undefined,
  token: number,
): void {
  const ours = logProbabilities(logits);
  if (!ours.every((x) => x <= 0)) {
    expect(Number.isFinite(record[SCORE.sum]! + record[SCORE.largest]!)).toBe(false);
    return;
  }
  near("log-probability", logOf(record, 0), ours[token]!, 1e-6);
  if (base === undefined) return;
  const theirs = logProbabilities(base);
  near("base", logOf(record, SCORE.base), theirs[token]!, 1e-6);
  const kl = theirs.reduce(
    (sum, p, i) => sum + (p === Number.NEGATIVE_INFINITY ? 0 : Math.exp(p) * (p - ours[i]!)),
    0,
  );
  const [sum, baseSum, weighted] = [SCORE.sum, SCORE.base + SCORE.sum, SCORE.weighted].map((i) => record[i]!);
  const actual = weighted! / baseSum! - Math.log(baseSum!) + Math.log(sum!);
  if (kl === Number.POSITIVE_INFINITY) expect(record[SCORE.weighted]).toBeNaN();
  else near("divergence", actual, kl, 2e-6 + 1e-6 * Math.abs(kl));
  const [top, baseTop] = [Math.max(...logits), Math.max(...base)];
  const same = logits.filter((x, i) => x === top && base[i] === baseTop).length;
  expect(record[SCORE.sameTop]).toBe(same);
}

function scoreCase(isa: Isa, shape: Shape, compared: boolean): KernelCase {
  const { what, cols, rows, threads = 1 } = shape;
  const name = `${rows} rows of ${cols}${compared ? ", compared" : ""}${what === undefined ? "" : `, ${what}`}`;
  return { name, threads, make: () => scoreWork(isa, shape, compared) };
}

function scoreWork(isa: Isa, { cols, rows, edit, editBase, equal }: Shape, compared: boolean): Work {
  const rng = new Rng(cols + rows);
  const logits = normals(rng, rows * cols, 3);
  edit?.(logits.subarray(0, cols));
  const base = equal
    ? logits.slice()
    : logits.map((x) => (Number.isFinite(x) && Math.abs(x) < 100 ? x + rng.normal() : 0));
  editBase?.(base.subarray(0, cols));
  const targets = i32(...Array.from({ length: rows }, (_, i) => (i === 0 ? cols - 1 : rng.integer(cols))));
  /** Behind a row lie other values than zeros, which must not count. */
  const dirty = (values: Float32Array) => {
    const padded = paddedRows(values, cols);
    const stride = padded.length / Math.max(1, rows);
    return padded.map((x, i) => (i % stride < cols ? x : 1e9));
  };
  const records = output("records", 4 * SCORE.values * rows);
  const parts = [input("logits", dirty(logits)), ...(compared ? [input("base", dirty(base))] : [])];
  const kernel = score({ cols, compared }, isa);
  return {
    steps: [
      { kernel, arguments: [...parts, input("targets", targets), records, input("counts", i32(rows))] },
    ],
    check: (after) => {
      const found = floatsOf(after(records));
      targets.forEach((token, row) => {
        const of = (values: Float32Array) => values.subarray(row * cols, (row + 1) * cols);
        const record = found.subarray(row * SCORE.values, (row + 1) * SCORE.values);
        check(record, of(logits), compared ? of(base) : undefined, token);
      });
    },
  };
}

describeKernels("scores of rows of logits", (isa) =>
  SHAPES.flatMap((shape) => [scoreCase(isa, shape, false), scoreCase(isa, shape, true)]),
);
