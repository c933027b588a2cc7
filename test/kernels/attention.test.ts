import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { type AttentionSpec, attention, scoreBytes } from "../../src/kernels/attention.ts";
import type { ElementType } from "../../src/kernels/elements.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { KvPages, kvLayout, pageBytes } from "./kv-pages.ts";
import { normals, paddedRows } from "./rows.ts";

interface Choice {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly element: ElementType;
  readonly threads: number;
  /** What the queries are multiplied by: a large one makes the softmax a choice of the largest score. */
  readonly size?: number;
}

const CHOICES: readonly Choice[] = [
  { heads: 1, kvHeads: 1, headDim: 8, element: "f32", threads: 1 },
  { heads: 2, kvHeads: 1, headDim: 10, element: "f16", threads: 1 },
  { heads: 3, kvHeads: 1, headDim: 32, element: "f32", threads: 3 },
  { heads: 8, kvHeads: 2, headDim: 64, element: "f16", threads: 3 },
  { heads: 8, kvHeads: 1, headDim: 80, element: "f32", threads: 1 },
  { heads: 6, kvHeads: 1, headDim: 128, element: "f16", threads: 1 },
  { heads: 4, kvHeads: 4, headDim: 64, element: "f32", threads: 3 },
  { heads: 4, kvHeads: 2, headDim: 10, element: "f32", threads: 1 },
  { heads: 6, kvHeads: 2, headDim: 128, element: "f32", threads: 3 },
  { heads: 16, kvHeads: 2, headDim: 8, element: "f16", threads: 1 },
  { heads: 8, kvHeads: 2, headDim: 32, element: "f32", threads: 1, size: 40 },
];

/** Sequences: their pages in order, and their lengths, the last page partly unused. */
const SEQUENCES = [
  { pages: [4, 1, 6], length: 71 },
  { pages: [2], length: 32 },
  { pages: [0, 5], length: 33 },
];
const PAGE_COUNT = 7;
/** Prefill rows and decode rows of several sequences: [sequence, position]. */
const ROWS = [
  [0, 70],
  [1, 0],
  [1, 31],
  [2, 32],
  [0, 31],
  [0, 32],
  [2, 5],
] as const;

function attentionCase(isa: Isa, choice: Choice): KernelCase {
  const { heads, kvHeads, headDim, element, threads, size = 1 } = choice;
  return {
    name:
      `${heads} heads of ${headDim}, ${kvHeads} kv heads, ${element} cache, ` +
      `queries around ${size}, ${threads} threads`,
    threads,
    make: () => attentionWork(isa, choice),
  };
}

/** Pages full of NaN, but for the positions that the sequences have. */
function filledPages(layout: ReturnType<typeof kvLayout>, rng: Rng): KvPages {
  const pages = new KvPages(layout, new Uint8Array(PAGE_COUNT * pageBytes(layout)).fill(0xff));
  for (const { pages: table, length } of SEQUENCES)
    for (let p = 0; p < length; p++) {
      const [page, slot] = [table[Math.floor(p / layout.pageTokens)]!, p % layout.pageTokens];
      for (let h = 0; h < layout.kvHeads; h++)
        for (let d = 0; d < layout.headDim; d++) {
          pages.setK(page, h, slot, d, rng.normal());
          pages.setV(page, h, slot, d, rng.normal());
        }
    }
  return pages;
}

function attentionWork(isa: Isa, choice: Choice): Work {
  const { heads, kvHeads, headDim, element, threads, size = 1 } = choice;
  const rng = new Rng(heads * headDim);
  const kv = kvLayout(kvHeads, headDim, element);
  const spec: AttentionSpec = { heads, kv, scale: 1 / Math.sqrt(headDim) };
  const pages = filledPages(kv, rng);
  const qs = normals(rng, ROWS.length * heads * headDim, size);
  const starts = SEQUENCES.map((_, s) => SEQUENCES.slice(0, s).flatMap((before) => before.pages).length);
  const out = output("out", new Float32Array(ROWS.length * paddedCols(heads * headDim)));
  const threadBytes = scoreBytes(spec, 71);
  const parts = [
    input("q", paddedRows(qs, heads * headDim)),
    out,
    input("cache", pages.bytes),
    input("positions", i32(...ROWS.map(([, position]) => position))),
    input("tables", i32(...SEQUENCES.flatMap((sequence) => sequence.pages))),
    input("table_of", i32(...ROWS.map(([sequence]) => starts[sequence]!))),
    output("scratch", threads * threadBytes),
    threadBytes,
    4 * 3 * kv.pageTokens,
    input("counts", i32(ROWS.length)),
  ];
  return {
    steps: [{ kernel: attention(spec, isa), arguments: parts }],
    check: (after) => {
      const expected = paddedRows(
        ROWS.flatMap((_, r) => mixedRow(spec, pages, qs, r)),
        heads * headDim,
      );
      const actual = floatsOf(after(out));
      expected.forEach((value, i) => {
        if (!(Math.abs(actual[i]! - value) <= 2e-6 * size))
          expect.fail(`output ${i} is ${actual[i]}, expected ${value}`);
      });
    },
  };
}

/** The outputs of all heads of a row, in f64. */
function mixedRow(
  { heads, kv, scale }: AttentionSpec,
  pages: KvPages,
  qs: Float32Array,
  row: number,
): number[] {
  const [sequence, position] = ROWS[row]!;
  const { headDim, pageTokens } = kv;
  const dimensions = Array.from({ length: headDim }, (_, d) => d);
  const places = Array.from({ length: position + 1 }, (_, p) => ({
    page: SEQUENCES[sequence]!.pages[Math.floor(p / pageTokens)]!,
    slot: p % pageTokens,
  }));
  return Array.from({ length: heads }, (_, h) => {
    const kvHead = Math.floor(h / (heads / kv.kvHeads));
    const q = qs.subarray((row * heads + h) * headDim, (row * heads + h + 1) * headDim);
    const scores = places.map(
      ({ page, slot }) =>
        scale * dimensions.reduce((sum, d) => sum + q[d]! * pages.k(page, kvHead, slot, d), 0),
    );
    const largest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return dimensions.map((d) =>
      places.reduce(
        (sum, { page, slot }, p) => sum + (weights[p]! / total) * pages.v(page, kvHead, slot, d),
        0,
      ),
    );
  }).flat();
}

describeKernels("attention", (isa) => CHOICES.map((choice) => attentionCase(isa, choice)));
