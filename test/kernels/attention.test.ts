import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { attention, attentionScratchBytes } from "../../src/kernels/attention.ts";
import type { AttentionSpec } from "../../src/kernels/attention-work.ts";
import type { ElementType } from "../../src/kernels/elements.ts";
import { BLOCK_DIMS, hasScales, headBlocks, PAGE_TOKENS } from "../../src/kernels/kv-cache.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { KvPages, kvLayout, pageBytes, roundEven } from "./kv-pages.ts";
import { normals, paddedRows } from "./rows.ts";

interface Choice {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly element: ElementType;
  readonly block: AttentionSpec["block"];
  readonly threads: number;
  /** What the queries are multiplied by: a large one makes the softmax a choice of the largest score. */
  readonly size?: number;
  readonly limits?: Pick<AttentionSpec, "softcap" | "window" | "sinks">;
}

/** One row and one head at a time. */
const ROW = { rows: 1, heads: 1 };

const CHOICES: readonly Choice[] = [
  { heads: 1, kvHeads: 1, headDim: 8, element: "f32", block: ROW, threads: 1 },
  { heads: 2, kvHeads: 1, headDim: 10, element: "f16", block: { rows: 1, heads: 2 }, threads: 1 },
  { heads: 3, kvHeads: 1, headDim: 32, element: "f32", block: { rows: 1, heads: 3 }, threads: 3 },
  { heads: 8, kvHeads: 2, headDim: 64, element: "f16", block: { rows: 1, heads: 4 }, threads: 3 },
  { heads: 8, kvHeads: 1, headDim: 80, element: "f32", block: { rows: 1, heads: 4 }, threads: 1 },
  { heads: 6, kvHeads: 1, headDim: 128, element: "f16", block: { rows: 1, heads: 6 }, threads: 1 },
  { heads: 4, kvHeads: 2, headDim: 10, element: "f32", block: ROW, threads: 1 },
  { heads: 8, kvHeads: 2, headDim: 32, element: "f32", block: { rows: 4, heads: 4 }, threads: 1, size: 40 },
  { heads: 4, kvHeads: 4, headDim: 64, element: "f32", block: { rows: 16, heads: 1 }, threads: 3 },
  { heads: 3, kvHeads: 3, headDim: 128, element: "f16", block: { rows: 16, heads: 1 }, threads: 1 },
  { heads: 6, kvHeads: 2, headDim: 20, element: "f16", block: { rows: 4, heads: 3 }, threads: 3 },
  { heads: 16, kvHeads: 2, headDim: 8, element: "f16", block: { rows: 4, heads: 8 }, threads: 1 },
  { heads: 10, kvHeads: 2, headDim: 12, element: "f32", block: { rows: 3, heads: 5 }, threads: 1 },
  { heads: 2, kvHeads: 2, headDim: 128, element: "q8_0", block: ROW, threads: 1 },
  { heads: 8, kvHeads: 1, headDim: 64, element: "q8_0", block: { rows: 1, heads: 8 }, threads: 3 },
  { heads: 2, kvHeads: 2, headDim: 80, element: "q8_0", block: { rows: 16, heads: 1 }, threads: 1 },
  { heads: 6, kvHeads: 2, headDim: 10, element: "q8_0", block: { rows: 4, heads: 3 }, threads: 3 },
  { heads: 4, kvHeads: 2, headDim: 40, element: "q8_0", block: { rows: 8, heads: 2 }, threads: 1 },
  { heads: 16, kvHeads: 2, headDim: 32, element: "q8_0", block: { rows: 4, heads: 8 }, threads: 1, size: 40 },
  { heads: 2, kvHeads: 1, headDim: 41, element: "q8_0", block: { rows: 1, heads: 1 }, threads: 1 },
  { heads: 4, kvHeads: 4, headDim: 100, element: "q8_0", block: { rows: 1, heads: 2 }, threads: 2 },
  { heads: 6, kvHeads: 3, headDim: 96, element: "q8_0", block: { rows: 5, heads: 6 }, threads: 1 },
  { heads: 8, kvHeads: 4, headDim: 12, element: "f16", block: { rows: 1, heads: 4 }, threads: 3 },
  { heads: 6, kvHeads: 6, headDim: 9, element: "f32", block: { rows: 4, heads: 6 }, threads: 1 },
  // Windows of one position, of less than a page, that end in the page before, and longer than the text.
  { heads: 2, kvHeads: 1, headDim: 8, element: "f32", block: ROW, threads: 1, limits: { window: 1 } },
  {
    ...{ heads: 6, kvHeads: 2, headDim: 40, element: "f32", block: { rows: 4, heads: 3 }, threads: 3 },
    limits: { sinks: true },
  },
  {
    ...{ heads: 3, kvHeads: 1, headDim: 32, element: "q8_0", block: ROW, threads: 1 },
    limits: { sinks: true, window: 33 },
  },
  {
    heads: 4,
    kvHeads: 2,
    headDim: 10,
    element: "f16",
    block: { rows: 4, heads: 2 },
    threads: 3,
    limits: { window: 3 },
  },
  {
    heads: 2,
    kvHeads: 2,
    headDim: 32,
    element: "q8_0",
    block: { rows: 16, heads: 1 },
    threads: 1,
    limits: { window: 33 },
  },
  {
    heads: 2,
    kvHeads: 1,
    headDim: 20,
    element: "f32",
    block: { rows: 8, heads: 2 },
    threads: 1,
    limits: { window: 500 },
  },
  {
    heads: 4,
    kvHeads: 1,
    headDim: 16,
    element: "f32",
    block: ROW,
    threads: 1,
    size: 20,
    limits: { softcap: 5 },
  },
  {
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    element: "f32",
    block: { rows: 8, heads: 2 },
    threads: 3,
    size: 40,
    limits: { softcap: 30, window: 40 },
  },
];

/** Sequences: their pages in order, and their lengths, the last page partly unused; the first is of two chunks. */
const SEQUENCES = [
  { pages: [4, 1, 6, 9, 3, 8], length: 171 },
  { pages: [2], length: 32 },
  { pages: [0, 5], length: 33 },
];
const PAGE_COUNT = 10;
/** Prefill rows and decode rows of several sequences: [sequence, position]; some runs cross pages and chunks. */
const ROWS = [
  [0, 170],
  [1, 0],
  [1, 31],
  [2, 32],
  ...[28, 29, 30, 31, 32, 33, 34].map((position) => [0, position] as const),
  [2, 5],
  ...[126, 127, 128, 129].map((position) => [0, position] as const),
] as const;

/** Runs of at most `most` rows of one sequence: [first row, rows]. */
function rowBlocks(most: number): number[][] {
  const blocks: number[][] = [];
  ROWS.forEach(([sequence], r) => {
    const open = blocks.at(-1);
    if (open !== undefined && ROWS[open[0]!]![0] === sequence && open[1]! < most) open[1]!++;
    else blocks.push([r, 1]);
  });
  return blocks;
}

function attentionCase(isa: Isa, choice: Choice): KernelCase {
  const { heads, kvHeads, headDim, element, block, threads, size = 1, limits = {} } = choice;
  return {
    name:
      `${heads} heads of ${headDim}, ${kvHeads} kv heads, ${element} cache, ` +
      `queries around ${size}, blocks of ${block.rows} rows and ${block.heads} heads, ${threads} threads ${JSON.stringify(limits)}`,
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
        for (const part of ["k", "v"] as const)
          pages.setRow(part, page, h, slot, [...normals(rng, layout.headDim)]);
    }
  return pages;
}

function attentionWork(isa: Isa, choice: Choice): Work {
  const { heads, kvHeads, headDim, element, block, threads, size = 1, limits = {} } = choice;
  const rng = new Rng(heads * headDim);
  const kv = kvLayout(kvHeads, headDim, element);
  const spec: AttentionSpec = { heads, kv, scale: 1 / Math.sqrt(headDim), block, ...limits };
  const pages = filledPages(kv, rng);
  const qs = normals(rng, ROWS.length * heads * headDim, size);
  const starts = SEQUENCES.map((_, s) => SEQUENCES.slice(0, s).flatMap((before) => before.pages).length);
  const out = output("out", new Float32Array(ROWS.length * paddedCols(heads * headDim)));
  const blocks = rowBlocks(block.rows);
  const parts = [
    input("q", paddedRows(qs, heads * headDim)),
    out,
    input("cache", pages.bytes),
    input("positions", i32(...ROWS.map(([, position]) => position))),
    input("tables", i32(...SEQUENCES.flatMap((sequence) => sequence.pages))),
    input("table_of", i32(...ROWS.map(([sequence]) => starts[sequence]!))),
    input("blocks", i32(...blocks.flat())),
    output("scratch", threads * attentionScratchBytes(spec)),
    input("counts", i32(blocks.length)),
    ...(spec.sinks
      ? [
          input(
            "sinks",
            Float32Array.from({ length: heads }, (_, h) => sinkOf(h)),
          ),
        ]
      : []),
  ];
  return {
    steps: [{ kernel: attention(spec, isa), arguments: parts }],
    check: (after) => {
      const expected = ROWS.flatMap((_, r) => mixedRow(spec, pages, qs, r, size));
      const actual = floatsOf(after(out));
      const values = paddedRows(
        expected.map(({ value }) => value),
        heads * headDim,
      );
      const slacks = paddedRows(
        expected.map(({ slack }) => slack),
        heads * headDim,
      );
      values.forEach((value, i) => {
        if (!(Math.abs(actual[i]! - value) <= FLOAT_ERROR * size + slacks[i]!))
          expect.fail(`output ${i} is ${actual[i]}, expected ${value}`);
      });
    },
  };
}

/** Some lower and some higher than all scores. */
const sinkOf = (head: number) => 7 * (head % 3) - 5;

/** Relative error of scores and weights for queries around 1. */
const FLOAT_ERROR = 2e-6;

/** An output, and how far it may be off for weights that are so near a tie that rounding errors decide their code. */
interface Expected {
  readonly value: number;
  readonly slack: number;
}

/** The largest code of queries and weights where the cache is of codes. */
const MOST = 32767;

/** A query as the scores see it. */
function roundedQuery(q: Float32Array, element: ElementType): number[] {
  if (element !== "q8_0") return [...q];
  const largest = Math.max(...q.map(Math.abs));
  const factor = Math.fround(MOST / largest);
  return Array.from(q, (x) => (roundEven(Math.fround(x * factor)) * largest) / MOST);
}

/** What a position adds to the outputs of a block of dimensions: V times `weight`, ± V times `slack`. */
interface Weight {
  readonly weight: number;
  readonly slack: number;
}

/**
 * Weights of the positions from `first` on as codes that are relative to the largest product of weight and scale of 4
 * pages.
 */
function roundedWeights(
  weights: readonly number[],
  scales: readonly number[],
  size: number,
  first: number,
): Weight[] {
  const chunk = 4 * PAGE_TOKENS;
  return weights.map((weight, p) => {
    const before = Math.floor((first + p) / chunk) * chunk - first;
    const start = Math.max(0, before);
    const products = weights.slice(start, before + chunk).map((w, i) => w * scales[start + i]!);
    const unit = Math.max(...products) / MOST;
    if (unit === 0) return { weight: 0, slack: 0 };
    const code = (weight * scales[p]!) / unit;
    const fromTie = Math.abs(code - Math.floor(code) - 0.5);
    const worth = unit / scales[p]!;
    return { weight: roundEven(code) * worth, slack: fromTie < code * FLOAT_ERROR * size ? worth : 0 };
  });
}

/** The outputs of all heads of a row, in f64. */
function mixedRow(
  { heads, kv, scale, softcap, window = Number.POSITIVE_INFINITY, sinks }: AttentionSpec,
  pages: KvPages,
  qs: Float32Array,
  row: number,
  size: number,
): Expected[] {
  const [sequence, position] = ROWS[row]!;
  const { headDim, pageTokens, element } = kv;
  const dimensions = Array.from({ length: headDim }, (_, d) => d);
  const seen = Array.from({ length: position + 1 }, (_, p) => p).filter((p) => position - p < window);
  const places = seen.map((p) => ({
    page: SEQUENCES[sequence]!.pages[Math.floor(p / pageTokens)]!,
    slot: p % pageTokens,
  }));
  return Array.from({ length: heads }, (_, h) => {
    const kvHead = Math.floor(h / (heads / kv.kvHeads));
    const q = roundedQuery(
      qs.subarray((row * heads + h) * headDim, (row * heads + h + 1) * headDim),
      element,
    );
    const ks = places.map(({ page, slot }) => pages.row("k", page, kvHead, slot));
    const vs = places.map(({ page, slot }) => pages.row("v", page, kvHead, slot));
    const products = ks.map((k) => scale * dimensions.reduce((sum, d) => sum + q[d]! * k[d]!, 0));
    const scores = products.map((s) => (softcap === undefined ? s : softcap * Math.tanh(s / softcap)));
    const ofSink = sinks ? [sinkOf(h)] : [];
    const largest = Math.max(...scores, ...ofSink);
    const weights = scores.map((score) => Math.exp(score - largest));
    const total =
      ofSink.reduce((sum, s) => sum + Math.exp(s - largest), 0) + weights.reduce((sum, w) => sum + w, 0);
    const ofBlocks = Array.from({ length: headBlocks(kv) }, (_, block) => {
      if (!hasScales(kv)) return weights.map((weight) => ({ weight, slack: 0 }));
      const scales = places.map(({ page, slot }) => pages.scale("v", page, kvHead, slot, block));
      return roundedWeights(weights, scales, size, seen[0] ?? 0);
    });
    return dimensions.map((d) => {
      const of = ofBlocks[Math.floor(d / BLOCK_DIMS)]!;
      const sum = (part: (w: Weight, v: number) => number) =>
        vs.reduce((all, v, p) => all + part(of[p]!, v[d]!), 0) / total;
      return { value: sum((w, v) => w.weight * v), slack: sum((w, v) => w.slack * Math.abs(v)) };
    });
  }).flat();
}

describeKernels("attention", (isa) => CHOICES.map((choice) => attentionCase(isa, choice)));
