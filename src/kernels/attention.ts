import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { prefetchValueScales, quantizeQuery, quantizeWeights } from "./attention-codes.ts";
import { mixTile } from "./attention-mix.ts";
import { scoreTile } from "./attention-scores.ts";
import { softmaxChunk } from "./attention-softmax.ts";
import {
  type AttentionSpec,
  type AttentionWork,
  CHUNK_PAGES,
  forEachTile,
  itemKvHeads,
  mixedBytes,
  nextAt,
  ofQuery,
  pageAt,
  scratchLayout,
  sharingHeads,
} from "./attention-work.ts";
import { hasScales, kvName } from "./kv-cache.ts";
import { LINE_BYTES, nameOfNumber } from "./work.ts";

export function attentionName({ heads, kv, scale, softcap, window, sinks, block }: AttentionSpec): string {
  const limits = `${sinks ? "_sinks" : ""}${softcap === undefined ? "" : `_cap${nameOfNumber(softcap)}`}${window === undefined ? "" : `_w${window}`}`;
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
 * One item per block of rows and block of heads: its queries of a kv head pass over K and V together, a chunk of pages at
 * a time, with a running maximum and sum (online softmax). A query's result does not depend on what it shares the pass with.
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
  const sinks = spec.sinks ? b.parameter("sinks", "ptr", "f32 score of every head") : undefined;
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
    const last = b.named("last_position", ofRow(positions, op.isub(op.iadd(first, rows), b.i(1))));
    const work: AttentionWork = {
      b,
      spec,
      queries: b.named("queries", op.imul(rows, b.i(sharingHeads(spec)))),
      kvHead: b.named("kv_head", op.idiv(head, b.i(heads / kv.kvHeads))),
      cache,
      pages: b.named("pages", op.addr(tables, ofRow(tableOf, first), { stride: 4, offset: 0 })),
      lastPosition: last,
      lastPage: b.named("last_page", op.idiv(last, b.i(kv.pageTokens))),
      scratch: own,
    };
    b.loop("row", 0, rows, 1, (row) => {
      const from = b.named("q_row", headsOf(work, q, op.iadd(first, row), head));
      const visible = b.named("visible", op.iadd(ofRow(positions, op.iadd(first, row)), b.i(1)));
      forEachHead(work, row, (query, h) => {
        const sink =
          sinks && op.fload(op.addr(sinks, op.iadd(head, h), { stride: 4, offset: 0 }), { offset: 0 });
        beginQuery(work, query, rowHead(work, from, h), visible, sink);
      });
    });
    const firstChunk = spec.window === undefined ? 0 : chunkOf(work, ofRow(positions, first), spec.window);
    b.loop("chunk", firstChunk, op.iadd(work.lastPage, b.i(1)), CHUNK_PAGES, (chunk) =>
      attendChunk(work, chunk),
    );
    b.loop("row", 0, rows, 1, (row) => {
      const to = b.named("out_row", headsOf(work, out, op.iadd(first, row), head));
      forEachHead(work, row, (query, h) => finishQuery(work, query, rowHead(work, to, h)));
    });
  });
  return b.build(attentionName(spec), [
    `out[h] = sum over positions p of softmax(${spec.scale} * q[h] . K[p]) V[p], causal`,
    ...(spec.softcap === undefined ? [] : [`scores s are ${spec.softcap} * tanh(s / ${spec.softcap})`]),
    ...(spec.sinks ? ["every head has a sink, a score without a value"] : []),
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

/** One of the item's heads in a row of heads. */
function rowHead({ b, spec }: AttentionWork, row: Value<"ptr">, head: Value<"i32">): Value<"ptr"> {
  return b.op.addr(row, head, { stride: 4 * spec.kv.headDim, offset: 0 });
}

/** The heads of a row, and the queries that they are of the item. */
function forEachHead(
  { b, spec, queries }: AttentionWork,
  row: Value<"i32">,
  body: (query: Value<"i32">, head: Value<"i32">) => void,
): void {
  const { op } = b;
  const sharing = sharingHeads(spec);
  const before = b.named("before", op.imul(row, b.i(sharing)));
  b.loop("h", 0, spec.block.heads, 1, (h) => {
    const ofKvHead = op.imul(op.idiv(h, b.i(sharing)), queries);
    body(b.named("query", op.iadd(op.iadd(ofKvHead, before), op.irem(h, b.i(sharing)))), h);
  });
}

/** The query `from`, scaled, or its codes; nothing summed yet but the weight of the sink, if there is one. */
function beginQuery(
  work: AttentionWork,
  query: Value<"i32">,
  from: Value<"ptr">,
  visible: Value<"i32">,
  sink: Value<"f32"> | undefined,
): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const layout = scratchLayout(spec);
  const q = b.named("q_head", from);
  if (hasScales(spec.kv)) quantizeQuery(work, query, q);
  else scaleQuery(work, query, q);
  const mixed = b.named("mixed", ofQuery(work, query, layout.mixed, mixedBytes(spec)));
  b.loop("d", 0, mixedBytes(spec) / 4, lanes, (d) => {
    op.vfstore(op.addr(mixed, d, { stride: 4, offset: 0 }), op.vfconst({ value: 0 }), { offset: 0 });
  });
  const sums = ofQuery(work, query, layout.sums, LINE_BYTES);
  op.vfstore(sums, op.vfconst({ value: 0 }), { offset: 0 });
  if (sink !== undefined) op.fstore(sums, b.f(1), { offset: 0 });
  // With a window a row may see nothing of its block's first chunk: −∞ less −∞ would be no number.
  const nothing = spec.window === undefined ? Number.NEGATIVE_INFINITY : LOWEST;
  op.fstore(ofQuery(work, query, layout.largest, 4), sink ?? b.f(nothing), { offset: 0 });
  op.istore(ofQuery(work, query, layout.visible, 4), visible, { offset: 0 });
}

function scaleQuery(work: AttentionWork, query: Value<"i32">, from: Value<"ptr">): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim } = spec.kv;
  const layout = scratchLayout(spec);
  const to = b.named("q_scaled", ofQuery(work, query, layout.q, layout.qBytes));
  b.loop("d", 0, headDim, lanes, (d) => {
    const left = op.imin(op.isub(b.i(headDim), d), b.i(lanes));
    const value = op.vfloadn(op.addr(from, d, { stride: 4, offset: 0 }), left, { offset: 0 });
    const scaled = op.vfmul(value, op.vfconst({ value: spec.scale }));
    op.vfstore(op.addr(to, d, { stride: 4, offset: 0 }), scaled, { offset: 0 });
  });
}

/** Scores, weights and mixed values of the pages from `chunk` on. */
function attendChunk(work: AttentionWork, chunk: Value<"i32">): void {
  const { b, spec } = work;
  const { op } = b;
  const { pageTokens } = spec.kv;
  const left = op.isub(op.iadd(work.lastPage, b.i(1)), chunk);
  const pages = b.named("chunk_pages", op.imin(left, b.i(CHUNK_PAGES)));
  const heads = itemKvHeads(spec);
  b.loop("page", 0, pages, 1, (inChunk) => {
    const page = b.named("page_number", op.iadd(chunk, inChunk));
    b.loop("kv", 0, heads, 1, (head) => {
      const k = b.named("k_page", pageAt(work, page, head, "k"));
      const next = b.named("k_next", nextAt(work, page, head, "k"));
      if (hasScales(spec.kv)) prefetchValueScales(work, pageAt(work, page, head, "v"));
      forEachTile(work, head, (tile) => scoreTile(work, tile, { k, next, inChunk }));
    });
  });
  const first = b.named("first_position", op.imul(chunk, b.i(pageTokens)));
  const positions = b.named("chunk_positions", op.imul(pages, b.i(pageTokens)));
  const queries = b.named("item_queries", op.imul(work.queries, b.i(heads)));
  b.loop("query", 0, queries, 1, (query) => {
    softmaxChunk(work, query, first, positions);
    if (hasScales(spec.kv)) quantizeWeights(work, query, chunk, pages);
  });
  b.loop("page", 0, pages, 1, (inChunk) => {
    const page = b.named("page_number", op.iadd(chunk, inChunk));
    b.loop("kv", 0, heads, 1, (head) => {
      const v = b.named("v_page", pageAt(work, page, head, "v"));
      const next = b.named("v_next", nextAt(work, page, head, "v"));
      forEachTile(work, head, (tile) => mixTile(work, tile, { v, next, inChunk, page }));
    });
  });
}

/** out ← mixed / Σ of the weights. */
function finishQuery(work: AttentionWork, query: Value<"i32">, out: Value<"ptr">): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim } = spec.kv;
  const layout = scratchLayout(spec);
  const sum = op.vfload(ofQuery(work, query, layout.sums, LINE_BYTES), { offset: 0 });
  const inverse = b.named("inverse", op.vfsplat(op.fdiv(b.f(1), op.vfsum(sum))));
  const mixed = b.named("mixed", ofQuery(work, query, layout.mixed, mixedBytes(spec)));
  const to = b.named("out_head", out);
  const rest = headDim % lanes;
  const whole = headDim - rest;
  const result = (from: Value<"ptr">, offset: number) => op.vfmul(op.vfload(from, { offset }), inverse);
  b.loop("d", 0, whole, lanes, (d) => {
    const value = result(op.addr(mixed, d, { stride: 4, offset: 0 }), 0);
    op.vfstore(op.addr(to, d, { stride: 4, offset: 0 }), value, { offset: 0 });
  });
  // Some processors take a dozen cycles to store some lanes.
  if (rest > 0) op.vfstoren(to, b.i(rest), result(mixed, 4 * whole), { offset: 4 * whole });
}
