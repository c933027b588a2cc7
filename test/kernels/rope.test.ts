import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import type { ElementType } from "../../src/kernels/elements.ts";
import { appendScratchBytes } from "../../src/kernels/kv-append.ts";
import {
  type RopePairing,
  type RopeSpec,
  rope,
  ropeTableCols,
  writeRopeTable,
} from "../../src/kernels/rope.ts";
import {
  describeKernels,
  floatsOf,
  i32,
  input,
  type KernelCase,
  output,
  POISON,
  type Work,
} from "./bench.ts";
import { KvPages, kvLayout, pageBytes } from "./kv-pages.ts";
import { normals, paddedRows } from "./rows.ts";

/** [query heads, kv heads, head dimensions, those that rotate, pairing, cache, threads] */
type Choice = readonly [number, number, number, number, RopePairing, ElementType, number];

const CHOICES: readonly Choice[] = [
  [4, 2, 10, 0, "halves", "f16", 3],
  [3, 3, 64, 0, "halves", "q8_0", 1],
  [1, 1, 8, 8, "interleaved", "f32", 1],
  [2, 1, 10, 10, "halves", "f16", 3],
  [3, 1, 10, 6, "interleaved", "f16", 1],
  [4, 2, 32, 32, "halves", "f32", 3],
  [8, 4, 64, 64, "interleaved", "f16", 1],
  [8, 1, 80, 32, "halves", "f16", 3],
  [6, 2, 128, 128, "halves", "f16", 1],
  [16, 16, 8, 4, "interleaved", "f32", 3],
  [5, 5, 80, 20, "interleaved", "f32", 1],
  [1, 1, 8, 8, "interleaved", "q8_0", 1],
  [4, 2, 32, 32, "halves", "q8_0", 3],
  [3, 3, 10, 6, "interleaved", "q8_0", 1],
  [5, 5, 80, 20, "halves", "q8_0", 3],
  [6, 2, 128, 128, "interleaved", "q8_0", 1],
  [2, 1, 41, 38, "halves", "q8_0", 1],
];

/** Rows at these positions; each in a page of its own. */
const POSITIONS = [0, 31, 32, 5, 1000];
const PAGES = [3, 0, 5, 1, 2];
const PAGE_COUNT = 6;

const frequency = (rotated: number, pair: number) => 10000 ** ((-2 * pair) / rotated);

function ropeCase(isa: Isa, choice: Choice): KernelCase {
  const [heads, kvHeads, headDim, rotated, pairing, element, threads] = choice;
  return {
    name:
      `${rotated} of ${headDim} dimensions, ${pairing}, ${heads} heads and ${kvHeads} kv heads, ` +
      `${element} cache, ${threads} threads`,
    threads,
    make: () => ropeWork(isa, { heads, kv: kvLayout(kvHeads, headDim, element), rotated, pairing }),
  };
}

function ropeWork(isa: Isa, spec: RopeSpec): Work {
  const { heads, kv, rotated, pairing } = spec;
  const { kvHeads, headDim } = kv;
  const rows = POSITIONS.length;
  const rng = new Rng(heads * headDim + rotated);
  const qs = normals(rng, rows * heads * headDim);
  const ks = normals(rng, rows * kvHeads * headDim);
  const vs = normals(rng, rows * kvHeads * headDim);
  const tableCols = ropeTableCols(rotated);
  const tables = new Float32Array(rows * tableCols);
  POSITIONS.forEach((position, r) => {
    const row = tables.subarray(r * tableCols, (r + 1) * tableCols);
    writeRopeTable(row, pairing, rotated, (pair) => position * frequency(rotated, pair));
  });
  const before = new Uint8Array(PAGE_COUNT * pageBytes(kv)).fill(POISON);
  const q = output("q", paddedRows(qs, heads * headDim));
  const cache = output("cache", before);
  const parts = [
    ...(rotated === 0 ? [] : [q]),
    input("k", paddedRows(ks, kvHeads * headDim)),
    input("v", paddedRows(vs, kvHeads * headDim)),
    cache,
    ...(rotated === 0 ? [] : [input("table", tables)]),
    input("positions", i32(...POSITIONS)),
    input("pages", i32(...PAGES)),
    output("scratch", rows * kvHeads * appendScratchBytes(kv)),
    input("counts", i32(rows)),
  ];
  const rotatedHead = (values: Float32Array, perRow: number, row: number, head: number) => {
    const start = (row * perRow + head) * headDim;
    return rotatedValues(spec, values.subarray(start, start + headDim), POSITIONS[row]!);
  };
  return {
    steps: [{ kernel: rope(spec, isa), arguments: parts }],
    check: (after) => {
      const expectedQ = paddedRows(
        POSITIONS.flatMap((_, r) => range(heads).flatMap((h) => rotatedHead(qs, heads, r, h))),
        heads * headDim,
      );
      if (rotated > 0) expectClose("q", floatsOf(after(q)), expectedQ, 1e-6);
      const pages = new KvPages(kv, after(cache));
      const untouched = new KvPages(kv, before);
      POSITIONS.forEach((position, r) => {
        const [page, slot] = [PAGES[r]!, position % kv.pageTokens];
        for (const h of range(kvHeads)) {
          const k = pages.row("k", page, h, slot);
          expectClose("k", k, rotatedHead(ks, kvHeads, r, h), K_ERROR[kv.element]);
          const v = pages.row("v", page, h, slot);
          untouched.takePosition(pages, page, h, slot);
          pages.setRow("v", page, h, slot, [...vs.slice((r * kvHeads + h) * headDim)].slice(0, headDim));
          expect(v).toEqual(pages.row("v", page, h, slot));
        }
      });
      expect(Buffer.compare(after(cache), untouched.bytes), "other positions of the cache").toBe(0);
      expect(expectedQ.length).toBe(rows * paddedCols(heads * headDim));
    },
  };
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** Of values of the size of 1; codes are of blocks whose largest value is at most 6. */
const K_ERROR: Readonly<Record<ElementType, number>> = {
  f32: 1e-6,
  f16: 2 ** -10,
  q8_0: 6 / 127 / 2 + 2 ** -10,
};

/** The rotation of one head, in f64. */
function rotatedValues({ rotated, pairing }: RopeSpec, x: Float32Array, position: number): number[] {
  const y = [...x];
  for (let pair = 0; pair < rotated / 2; pair++) {
    const [a, b] = pairing === "interleaved" ? [2 * pair, 2 * pair + 1] : [pair, pair + rotated / 2];
    const angle = position * frequency(rotated, pair);
    y[a] = x[a]! * Math.cos(angle) - x[b]! * Math.sin(angle);
    y[b] = x[a]! * Math.sin(angle) + x[b]! * Math.cos(angle);
  }
  return y;
}

/** Within `tolerance` of values of the size of 1. */
function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(actual[i]! - expected[i]!) <= tolerance * Math.max(1, Math.abs(expected[i]!))))
      expect.fail(`${what}[${i}] is ${actual[i]}, expected ${expected[i]}`);
}

describeKernels("rope", (isa) => CHOICES.map((choice) => ropeCase(isa, choice)));
