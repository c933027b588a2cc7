import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { mixTile } from "./attention-mix.ts";
import { scoreTile } from "./attention-scores.ts";
import { softmaxChunk } from "./attention-softmax.ts";
import {
  type AttentionSpec,
  type AttentionWork,
  CHUNK_PAGES,
  forEachTile,
  mixedBytes,
  nextPage,
  ofQuery,
  pageAt,
  scratchLayout,
} from "./attention-work.ts";
import { kvName } from "./kv-cache.ts";
import { LINE_BYTES, nameOfNumber } from "./work.ts";

export function attentionName({ heads, kv, scale, softcap, window, block }: AttentionSpec): string {
  const limits = `${softcap === undefined ? "" : `_cap${nameOfNumber(softcap)}`}${window === undefined ? "" : `_w${window}`}`;
  return `attention_h${heads}_${kvName(kv)}_s${nameOfNumber(scale)}${limits}_b${block.rows}x${block.heads}`;
}

/** Bytes of scratch per part of the step. */
export function attentionScratchBytes(spec: AttentionSpec): number {
  return scratchLayout(spec).bytes;
}

/** Bytes of an entry of the list of blocks: i32 first row, i32 number of rows. */
export const ROW_BLOCK_BYTES = 8;

/**
 * out[h] = Σ_p softmax_p(scale · q[h] · K[p]) V[p] over the positions p ≤ the row's own (causal), grouped-query; with a
 * window over so many of them.
 *
 * One item per block of rows and block of heads: its queries pass over K and V together, a chunk of pages at a time,
 * with a running maximum and sum (online softmax). A query's result does not depend on what it shares the pass with.
 * Rows of a block are of one sequence, positions ascending. Items go round the threads: later rows have more to do.
 */
export function attention(spec: AttentionSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const { kv, heads, block } = spec;
  const q = b.parameter("q", "ptr", "f32 rows of heads, rotated");
  const out = b.parameter("out", "ptr", "f32 rows of heads");
  const cache = b.parameter("cache", "ptr", "the layer's KV pages");
  const positions = b.parameter("positions", "ptr", "i32 position of every row");
  const tables = b.parameter("tables", "ptr", "i32 page tables of the sequences");
  const tableOf = b.parameter("table_of", "ptr", "i32 first page table entry of every row's sequence");
  const blocks = b.parameter("blocks", "ptr", "i32 first row and number of rows of every block");
  const scratch = b.parameter("scratch", "ptr", "scores and sums, one region per part of the step");
  const counts = b.parameter("counts", "ptr", "i32: number of blocks");
  const headBlocks = heads / block.heads;
  const items = b.named("items", op.imul(op.iload(counts, { offset: 0 }), b.i(headBlocks)));
  const own = b.named("own", op.addr(scratch, b.thread, { stride: scratchLayout(spec).bytes, offset: 0 }));
  b.loop("item", b.thread, items, b.threads, (item) => {
    const entry = op.addr(blocks, op.idiv(item, b.i(headBlocks)), { stride: ROW_BLOCK_BYTES, offset: 0 });
    const first = b.named("first_row", op.iload(entry, { offset: 0 }));
    const rows = b.named("rows", op.iload(entry, { offset: 4 }));
    const head = b.named("head", op.imul(op.irem(item, b.i(headBlocks)), b.i(block.heads)));
    const ofRow = (p: Value<"ptr">, row: Value<"i32">) =>
      op.iload(op.addr(p, row, { stride: 4, offset: 0 }), { offset: 0 });
    const last = ofRow(positions, op.isub(op.iadd(first, rows), b.i(1)));
    const work: AttentionWork = {
      b,
      spec,
      queries: b.named("queries", op.imul(rows, b.i(block.heads))),
      kvHead: b.named("kv_head", op.idiv(head, b.i(heads / kv.kvHeads))),
      cache,
      pages: b.named("pages", op.addr(tables, ofRow(tableOf, first), { stride: 4, offset: 0 })),
      lastPage: b.named("last_page", op.idiv(last, b.i(kv.pageTokens))),
      scratch: own,
    };
    const position = b.named("last_position", last);
    b.loop("row", 0, rows, 1, (row) => {
      const from = headsOf(work, q, op.iadd(first, row), head);
      beginRow(work, row, b.named("q_row", from), ofRow(positions, op.iadd(first, row)));
    });
    const firstChunk = spec.window === undefined ? 0 : chunkOf(work, ofRow(positions, first), spec.window);
    b.loop("chunk", firstChunk, op.iadd(work.lastPage, b.i(1)), CHUNK_PAGES, (chunk) =>
      attendChunk(work, chunk, position),
    );
    b.loop("row", 0, rows, 1, (row) => {
      finishRow(work, row, b.named("out_row", headsOf(work, out, op.iadd(first, row), head)));
    });
  });
  return b.build(attentionName(spec), [
    `out[h] = sum over positions p of softmax(${spec.scale} * q[h] . K[p]) V[p], causal`,
    ...(spec.softcap === undefined ? [] : [`scores s are ${spec.softcap} * tanh(s / ${spec.softcap})`]),
    ...(spec.window === undefined ? [] : [`over the last ${spec.window} positions`]),
    `${heads} heads of ${kv.headDim}, ${kv.kvHeads} kv heads, ${kv.element} cache, ` +
      `${block.rows} rows of ${block.heads} heads a pass`,
  ]);
}

/** The first page of the chunk with the first position that a row sees: chunks are the same for all rows. */
function chunkOf({ b, spec }: AttentionWork, position: Value<"i32">, window: number): Value<"i32"> {
  const { op } = b;
  const first = op.imax(op.isub(position, b.i(window - 1)), b.i(0));
  const chunk = op.idiv(first, b.i(CHUNK_PAGES * spec.kv.pageTokens));
  return b.named("first_chunk", op.imul(chunk, b.i(CHUNK_PAGES)));
}

/** The first of the item's heads in a row of heads. */
function headsOf(
  { b, spec }: AttentionWork,
  rows: Value<"ptr">,
  row: Value<"i32">,
  head: Value<"i32">,
): Value<"ptr"> {
  const { heads, kv } = spec;
  const start = b.op.addr(rows, row, { stride: 4 * paddedCols(heads * kv.headDim), offset: 0 });
  return b.op.addr(start, head, { stride: 4 * kv.headDim, offset: 0 });
}

/** Less than any score. */
const LOWEST = -1e30;

/** Scaled queries of a row; nothing summed yet. */
function beginRow(work: AttentionWork, row: Value<"i32">, q: Value<"ptr">, position: Value<"i32">): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim } = spec.kv;
  const layout = scratchLayout(spec);
  const { heads } = spec.block;
  const query = b.named("first_query", op.imul(row, b.i(heads)));
  const to = b.named("q_scaled", ofQuery(work, query, layout.q, 4 * headDim));
  // The last register of a row may run into the next row, which is written after it.
  b.loop("d", 0, heads * headDim, lanes, (d) => {
    const value = op.vfload(op.addr(q, d, { stride: 4, offset: 0 }), { offset: 0 });
    const scaled = op.vfmul(value, op.vfconst({ value: spec.scale }));
    op.vfstore(op.addr(to, d, { stride: 4, offset: 0 }), scaled, { offset: 0 });
  });
  const mixed = b.named("mixed", ofQuery(work, query, layout.mixed, mixedBytes(spec)));
  b.loop("d", 0, (heads * mixedBytes(spec)) / 4, lanes, (d) => {
    op.vfstore(op.addr(mixed, d, { stride: 4, offset: 0 }), op.vfconst({ value: 0 }), { offset: 0 });
  });
  const visible = b.named("visible", op.iadd(position, b.i(1)));
  // With a window a row may see nothing of its block's first chunk: −∞ less −∞ would be no number.
  const nothing = spec.window === undefined ? Number.NEGATIVE_INFINITY : LOWEST;
  b.loop("h", 0, heads, 1, (h) => {
    const n = op.iadd(query, h);
    op.vfstore(ofQuery(work, n, layout.sums, LINE_BYTES), op.vfconst({ value: 0 }), { offset: 0 });
    op.fstore(ofQuery(work, n, layout.largest, 4), b.f(nothing), { offset: 0 });
    op.istore(ofQuery(work, n, layout.visible, 4), visible, { offset: 0 });
  });
}

/** Scores, weights and mixed values of the pages from `chunk` on. */
function attendChunk(work: AttentionWork, chunk: Value<"i32">, lastPosition: Value<"i32">): void {
  const { b, spec } = work;
  const { op } = b;
  const { pageTokens } = spec.kv;
  const left = op.isub(op.iadd(work.lastPage, b.i(1)), chunk);
  const pages = b.named("chunk_pages", op.imin(left, b.i(CHUNK_PAGES)));
  b.loop("page", 0, pages, 1, (inChunk) => {
    const page = b.named("page_number", op.iadd(chunk, inChunk));
    const k = b.named("k_page", pageAt(work, page, "k"));
    const next = b.named("k_next", pageAt(work, nextPage(work, page), "k"));
    forEachTile(work, (tile) => scoreTile(work, tile, { k, next, inChunk }));
  });
  const first = b.named("first_position", op.imul(chunk, b.i(pageTokens)));
  const positions = b.named("chunk_positions", op.imul(pages, b.i(pageTokens)));
  b.loop("query", 0, work.queries, 1, (query) => softmaxChunk(work, query, first, positions));
  b.loop("page", 0, pages, 1, (inChunk) => {
    const page = b.named("page_number", op.iadd(chunk, inChunk));
    const v = b.named("v_page", pageAt(work, page, "v"));
    const next = b.named("v_next", pageAt(work, nextPage(work, page), "v"));
    const before = op.imul(page, b.i(pageTokens));
    const filled = op.isub(op.iadd(lastPosition, b.i(1)), before);
    const slots = b.named("slots", op.imin(filled, b.i(pageTokens)));
    forEachTile(work, (tile) => mixTile(work, tile, { v, next, inChunk, slots }));
  });
}

/** out ← mixed / Σ of the weights, for the queries of a row. */
function finishRow(work: AttentionWork, row: Value<"i32">, out: Value<"ptr">): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim } = spec.kv;
  const { heads } = spec.block;
  const layout = scratchLayout(spec);
  b.loop("h", 0, heads, 1, (h) => {
    const query = b.named("query", op.iadd(op.imul(row, b.i(heads)), h));
    const sum = op.vfload(ofQuery(work, query, layout.sums, LINE_BYTES), { offset: 0 });
    const inverse = b.named("inverse", op.vfsplat(op.fdiv(b.f(1), op.vfsum(sum))));
    const mixed = b.named("mixed", ofQuery(work, query, layout.mixed, mixedBytes(spec)));
    const to = b.named("out_head", op.addr(out, h, { stride: 4 * headDim, offset: 0 }));
    b.loop("d", 0, headDim, lanes, (d) => {
      const value = op.vfload(op.addr(mixed, d, { stride: 4, offset: 0 }), { offset: 0 });
      const left = op.imin(op.isub(b.i(headDim), d), b.i(lanes));
      op.vfstoren(op.addr(to, d, { stride: 4, offset: 0 }), left, op.vfmul(value, inverse), { offset: 0 });
    });
  });
}
