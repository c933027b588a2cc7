import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { BLOCK_DIMS, hasScales, headBlocks, type KvLayout, kvStrides } from "./kv-cache.ts";
import { LINE_BYTES } from "./work.ts";

export interface AttentionSpec {
  readonly heads: number;
  readonly kv: KvLayout;
  /** Scores are multiplied by this before the softmax, 1/sqrt(headDim) for Llama. */
  readonly scale: number;
  /** Scores s become softcap · tanh(s / softcap). */
  readonly softcap?: number | undefined;
  /** Whether every head has a score of its own that takes a part of the weights. */
  readonly sinks?: boolean | undefined;
  /** Positions that a row sees, its own included; all up to its own if not given. */
  readonly window?: number | undefined;
  /**
   * What an item takes: up to so many rows of a sequence, with so many heads, which are some of those of a kv head or all
   * of several. What has the same kv head shares the pass over its K and V.
   */
  readonly block: { readonly rows: number; readonly heads: number };
}

/** Pages whose scores are held at a time; the softmax is rescaled from one such chunk to the next. */
export const CHUNK_PAGES = 4;

/** Accumulators held in registers at once. */
const ACCUMULATORS = 8;

/** Queries of an item, at most. */
export function mostQueries({ block }: AttentionSpec): number {
  return block.rows * block.heads;
}

/** Kv heads of an item. */
export function itemKvHeads({ heads, kv, block }: AttentionSpec): number {
  return Math.max(1, (block.heads * kv.kvHeads) / heads);
}

/** Heads of an item that have the same kv head. */
export function sharingHeads(spec: AttentionSpec): number {
  return spec.block.heads / itemKvHeads(spec);
}

/** Queries that share the vectors of K or V that are in registers. */
export function tileQueries(spec: AttentionSpec): number {
  return [4, 3, 2, 1].find((n) => (spec.block.rows * sharingHeads(spec)) % n === 0) as number;
}

/** Vectors of K or V that `queries` queries are multiplied with at once, of `vectors`. */
export function vectorsAtOnce(queries: number, vectors: number): number {
  return Math.max(1, Math.min(vectors, Math.floor(ACCUMULATORS / queries)));
}

/** The vectors 0 … count − 1 in groups of at most `size`. */
export function vectorGroups(count: number, size: number): number[][] {
  const starts = Array.from({ length: Math.ceil(count / size) }, (_, i) => i * size);
  return starts.map((start) => Array.from({ length: Math.min(size, count - start) }, (_, n) => start + n));
}

/** Bytes from what is mixed for one query to the next. */
export function mixedBytes({ kv }: AttentionSpec): number {
  return 4 * headBlocks(kv) * BLOCK_DIMS;
}

/** Bytes from the codes of one query's weights to the next: [block][position of the chunk]. */
export function weightBytes({ kv }: AttentionSpec): number {
  return 2 * headBlocks(kv) * CHUNK_PAGES * kv.pageTokens;
}

/** Byte offsets in the scratch of one part of the step; what is of codes is there only where elements are codes. */
export function scratchLayout(spec: AttentionSpec) {
  const { kv } = spec;
  const coded = hasScales(kv);
  const qBytes = (coded ? 2 : 4) * headBlocks(kv) * BLOCK_DIMS;
  const queries = mostQueries(spec);
  let end = 0;
  const add = (bytes: number) => {
    const offset = end;
    end += Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
    return offset;
  };
  return {
    /** f32 [query][dimension], scaled; or codes of 16 bits. */
    q: add(qBytes * queries),
    /** From one query to the next: whole blocks. */
    qBytes,
    /** f32 [query]: what a unit of its codes is worth, scaled. */
    queryUnits: add(coded ? 4 * queries : 0),
    /** f32 [query][dimension]: Σ of weight · V so far. */
    mixed: add(mixedBytes(spec) * queries),
    /** f32 [query][position of the chunk]: scores, then weights. */
    scores: add(4 * queries * CHUNK_PAGES * kv.pageTokens),
    /** f32 [position of the chunk]: a query's weights times V's scales of a block. */
    products: add(coded ? 4 * CHUNK_PAGES * kv.pageTokens : 0),
    /** Codes of 16 bits [query][block][position of the chunk] of these products. */
    weights: add(coded ? weightBytes(spec) * queries : 0),
    /** f32 [query][block]: what a unit of them is worth. */
    weightUnits: add(coded ? 4 * headBlocks(kv) * queries : 0),
    /** f32 [query][lane]: Σ of weights so far. */
    sums: add(LINE_BYTES * queries),
    /** f32 [query]: the largest score so far, which weights are relative to. */
    largest: add(4 * queries),
    /** i32 [query]: positions that it sees. */
    visible: add(4 * queries),
    bytes: end,
  };
}

/** An item of work: its queries, [kv head][row][head], and where things are. */
export interface AttentionWork {
  readonly b: KernelBuilder;
  readonly spec: AttentionSpec;
  /** Queries of each kv head. */
  readonly queries: Value<"i32">;
  /** The first kv head. */
  readonly kvHead: Value<"i32">;
  readonly cache: Value<"ptr">;
  /** Page numbers of the sequence. */
  readonly pages: Value<"ptr">;
  /** The last position that a query sees, and its page. */
  readonly lastPosition: Value<"i32">;
  readonly lastPage: Value<"i32">;
  readonly scratch: Value<"ptr">;
}

/** Consecutive queries, from `first` on. */
export interface Tile {
  readonly first: Value<"i32">;
  readonly count: number;
}

/** Does something for all queries of a kv head of the item: whole tiles, then what is left one by one. */
export function forEachTile(
  { b, spec, queries }: AttentionWork,
  kvHead: Value<"i32">,
  body: (tile: Tile) => void,
): void {
  const { op } = b;
  const count = tileQueries(spec);
  const start = b.named("first_query", op.imul(kvHead, queries));
  const end = op.iadd(start, queries);
  const whole = op.isub(end, op.irem(queries, b.i(count)));
  b.loop("query", start, whole, count, (first) => body({ first, count }));
  if (count > 1 && spec.block.rows > 1) b.loop("query", whole, end, 1, (first) => body({ first, count: 1 }));
}

/** The blocks of a head: whole ones in a loop, then the rest. */
export function forEachBlock(
  { b, spec }: AttentionWork,
  body: (block: Value<"i32">, dims: number) => void,
): void {
  const { headDim } = spec.kv;
  const whole = Math.floor(headDim / BLOCK_DIMS);
  b.loop("block", 0, whole, 1, (block) => body(block, BLOCK_DIMS));
  const rest = headDim - whole * BLOCK_DIMS;
  if (rest > 0) body(b.i(whole), rest);
}

/** A block of dimensions: V of a page, what is asked for meanwhile, and what is mixed so far. */
export interface ValueBlock {
  readonly number: Value<"i32">;
  readonly dims: number;
  readonly values: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly mixed: Value<"ptr">;
}

/** K or V of a page of the sequence, for a kv head of the item. */
export function pageAt(
  { b, spec, cache, pages, kvHead }: AttentionWork,
  page: Value<"i32">,
  head: Value<"i32">,
  part: "k" | "v",
): Value<"ptr"> {
  const { op } = b;
  const strides = kvStrides(spec.kv);
  const number = op.iload(op.addr(pages, page, { stride: 4, offset: 0 }), { offset: 0 });
  const base = op.addr(cache, number, { stride: strides.page, offset: 0 });
  const own = op.iadd(kvHead, head);
  return part === "k"
    ? op.addr(base, own, { stride: strides.kHead, offset: 0 })
    : op.addr(base, own, { stride: strides.vHead, offset: strides.vAt });
}

/** What is passed after this, or the last again, to be asked for meanwhile: the page's next kv head, or the next page. */
export function nextAt(
  work: AttentionWork,
  page: Value<"i32">,
  head: Value<"i32">,
  part: "k" | "v",
): Value<"ptr"> {
  const { b, lastPage } = work;
  const { op } = b;
  const nextPage = op.imin(op.iadd(page, b.i(1)), lastPage);
  const heads = itemKvHeads(work.spec);
  if (heads === 1) return pageAt(work, nextPage, head, part);
  const next = op.iadd(head, b.i(1));
  const more = b.named("more", op.ilt(next, b.i(heads)));
  return pageAt(work, op.iselect(more, page, nextPage), op.iselect(more, next, b.i(0)), part);
}

/** The address of what a query has in the scratch. */
export function ofQuery(
  { b, scratch }: AttentionWork,
  query: Value<"i32">,
  offset: number,
  stride: number,
): Value<"ptr"> {
  return b.op.addr(scratch, query, { stride, offset });
}

/**
 * Rows of K or V that are added up apart from each other: what single queries add up in one chain would wait for itself,
 * since an addition takes four cycles and there are only as many chains as vectors in a row. The same for all tiles of a
 * kernel, so that a query's result does not depend on its tile.
 */
export function chainsOf(spec: AttentionSpec): number {
  return tileQueries(spec) === 1 ? 2 : 1;
}

/** Sums of a query for the vectors of a group. */
type Cells = readonly Cell<"vf32">[];

/** Sums of the chains, per query and vector. */
export function total(b: KernelBuilder, chains: readonly (readonly Cells[])[]): Value<"vf32">[][] {
  const [first = [], second] = chains;
  return first.map((ofQuery, n) =>
    ofQuery.map((cell, i) => {
      const other = second?.[n]?.[i];
      return other === undefined ? cell.get() : b.op.vfadd(cell.get(), other.get());
    }),
  );
}

/**
 * Asks for the lines of these bytes of a page: pages lie apart, so that no hardware foresees the next. Into L2: on Zen 4 a
 * cache of codes is read 1.3 times as fast as with lines asked for into L1, and one of f16 1.1 times.
 */
export function prefetchLines(b: KernelBuilder, p: Value<"ptr">, offsets: readonly number[]): void {
  const lines = new Set(offsets.map((offset) => Math.floor(offset / LINE_BYTES)));
  for (const line of lines) b.op.prefetch(p, { offset: line * LINE_BYTES, level: 2 });
}
