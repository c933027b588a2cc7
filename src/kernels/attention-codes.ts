import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import {
  type AttentionWork,
  CHUNK_PAGES,
  forEachBlock,
  mixedBytes,
  ofQuery,
  pageAt,
  prefetchLines,
  scratchLayout,
  type Tile,
  type ValueBlock,
  vectorGroups,
  vectorsAtOnce,
  weightBytes,
} from "./attention-work.ts";
import { codeFactor, codesOf, INT16_CODE } from "./codes.ts";
import { BLOCK_DIMS, headBlocks, kvStrides } from "./kv-cache.ts";
import { cursor, steps } from "./work.ts";

/**
 * Attention over a cache of int8 codes. Queries and weights become codes too, of 16 bits, so that their rounding is far
 * below that of the cache, and products are added in integers: of a block at most 32 · 127 · 32767 < 2^27.
 */

/** Codes of a query at `from`, and what a unit of them is worth, scaled. */
export function quantizeQuery(work: AttentionWork, query: Value<"i32">, from: Value<"ptr">): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim } = spec.kv;
  const layout = scratchLayout(spec);
  const valueAt = (d: Value<"i32">) =>
    op.vfloadn(op.addr(from, d, { stride: 4, offset: 0 }), op.imin(op.isub(b.i(headDim), d), b.i(lanes)), {
      offset: 0,
    });
  const largest = b.variable("largest", op.vfconst({ value: 0 }));
  b.loop("d", 0, headDim, lanes, (d) => largest.set(op.vfmax(op.vfabs(valueAt(d)), largest.get())));
  const amax = b.named("amax", op.vfmaxlane(largest.get()));
  const unit = op.fmul(amax, b.f(spec.scale / INT16_CODE));
  op.fstore(ofQuery(work, query, layout.queryUnits, 4), unit, { offset: 0 });
  const factor = b.named("factor", op.vfsplat(codeFactor(b, amax, INT16_CODE)));
  const codes = b.named("q_codes", ofQuery(work, query, layout.q, layout.qBytes));
  b.loop("d", 0, headDim, lanes, (d) => {
    const to = op.addr(codes, d, { stride: 2, offset: 0 });
    op.vu16storelanes(to, codesOf(b, valueAt(d), factor, INT16_CODE), { offset: 0 });
  });
}

/** Asks for the scales that `quantizeWeights` reads all at once. */
export function prefetchValueScales({ b, spec: { kv } }: AttentionWork, v: Value<"ptr">): void {
  const { scaleRow, vScalesAt } = kvStrides(kv);
  prefetchLines(
    b,
    b.named("v_page", v),
    Array.from({ length: headBlocks(kv) }, (_, block) => vScalesAt + block * scaleRow),
  );
}

/** Codes of a query's weights in the chunk times V's scales, per block, and what a unit of them is worth. */
export function quantizeWeights(
  work: AttentionWork,
  query: Value<"i32">,
  chunk: Value<"i32">,
  pages: Value<"i32">,
): void {
  const { b, spec, scratch } = work;
  const { op, lanes } = b;
  const { pageTokens } = spec.kv;
  const { scaleRow, vScalesAt } = kvStrides(spec.kv);
  const layout = scratchLayout(spec);
  const weights = b.named("weights", ofQuery(work, query, layout.scores, 4 * CHUNK_PAGES * pageTokens));
  const codes = b.named("weight_codes", ofQuery(work, query, layout.weights, weightBytes(spec)));
  const units = b.named("weight_units", ofQuery(work, query, layout.weightUnits, 4 * headBlocks(spec.kv)));
  const head = b.named("head_of_query", op.idiv(query, work.queries));
  const zero = op.vfconst({ value: 0 });
  b.loop("block", 0, headBlocks(spec.kv), 1, (block) => {
    const largest = b.variable("largest", zero);
    b.loop("page", 0, pages, 1, (inChunk) => {
      const v = pageAt(work, op.iadd(chunk, inChunk), head, "v");
      const scales = b.named("v_scales", op.addr(v, block, { stride: scaleRow, offset: vScalesAt }));
      const from = b.named("page_weights", op.addr(weights, inChunk, { stride: 4 * pageTokens, offset: 0 }));
      const to = op.addr(scratch, inChunk, { stride: 4 * pageTokens, offset: layout.products });
      const products = b.named("products", to);
      for (let p = 0; p < pageTokens; p += lanes) {
        const scale = op.vhload(scales, { offset: 2 * p });
        // Where nothing was written yet the scale may be anything, NaN too; the weight is 0.
        const product = op.vfmax(op.vfmul(op.vfload(from, { offset: 4 * p }), scale), zero);
        op.vfstore(products, product, { offset: 4 * p });
        largest.set(op.vfmax(product, largest.get()));
      }
    });
    const amax = b.named("amax", op.vfmaxlane(largest.get()));
    const unitAt = op.addr(units, block, { stride: 4, offset: 0 });
    op.fstore(unitAt, op.fdiv(amax, b.f(INT16_CODE)), { offset: 0 });
    const factor = b.named("factor", op.vfsplat(codeFactor(b, amax, INT16_CODE)));
    const ofBlock = op.addr(codes, block, { stride: 2 * CHUNK_PAGES * pageTokens, offset: 0 });
    const row = b.named("block_codes", ofBlock);
    b.loop("p", 0, op.imul(pages, b.i(pageTokens)), lanes, (p) => {
      const product = op.vfload(op.addr(scratch, p, { stride: 4, offset: layout.products }), { offset: 0 });
      const to = op.addr(row, p, { stride: 2, offset: 0 });
      op.vu16storelanes(to, codesOf(b, product, factor, INT16_CODE), { offset: 0 });
    });
  });
}

/** Pairs of int8 codes, `stride` bytes from one to the next, and those that are asked for meanwhile. */
interface Pairs {
  readonly codes: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly stride: number;
  readonly count: number;
}

/** Pairs of 16-bit codes of the queries of a tile. */
interface Factors {
  readonly pointer: Value<"ptr">;
  readonly stride: number;
}

/**
 * Pairs whose products are written out one after the other: a block's. A single query waits for memory, where hardware
 * prefetchers help that follow the stride of each load instruction, so there must be few of these.
 */
function unrolledPairs({ count }: Tile): number {
  return count === 1 ? 1 : BLOCK_DIMS / 2;
}

/** Σ of the products of `pairs` and `factors`, per query and vector. */
function multiplyPairs(
  { b }: AttentionWork,
  tile: Tile,
  group: readonly number[],
  pairs: Pairs,
  factors: Factors,
): Value<"vi32">[][] {
  const { op, lanes } = b;
  const bytes = 2 * lanes;
  const sums = Array.from({ length: tile.count }, (_, n) =>
    group.map((v) => b.variable(`dot${n}_${v}`, op.viconst({ value: 0 }))),
  );
  const cursors = {
    codes: [cursor(pairs.codes), pairs.stride],
    next: [cursor(pairs.next), pairs.stride],
    factor: [cursor(factors.pointer), 4],
  } as const;
  steps(b, "pair", pairs.count, unrolledPairs(tile), cursors, ({ codes, next, factor }) => {
    prefetchLines(
      b,
      next.pointer,
      group.map((v) => next.offset + v * bytes),
    );
    const loaded = group.map((v) => op.vi8loadpairs(codes.pointer, { offset: codes.offset + v * bytes }));
    sums.forEach((ofQuery, n) => {
      const two = op.visplat(op.iload(factor.pointer, { offset: factor.offset + n * factors.stride }));
      ofQuery.forEach((sum, i) => {
        sum.set(op.vipairdot(loaded[i] as Value<"vi32">, two, sum.get()));
      });
    });
  });
  return sums.map((ofQuery) => ofQuery.map((sum) => sum.get()));
}

/** Σ q · K per query of a tile and vector of a group. */
export function scoreCodes(
  work: AttentionWork,
  tile: Tile,
  { k, next }: { readonly k: Value<"ptr">; readonly next: Value<"ptr"> },
  q: Value<"ptr">,
  group: readonly number[],
): Value<"vf32">[][] {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { kDim, scaleRow, kScalesAt } = kvStrides(spec.kv);
  const { qBytes, queryUnits } = scratchLayout(spec);
  const sums = Array.from({ length: tile.count }, (_, n) =>
    group.map((v) => b.variable(`s${n}_${v}`, op.vfconst({ value: 0 }))),
  );
  forEachBlock(work, (block, dims) => {
    const ofBlock = (p: Value<"ptr">) => op.addr(p, block, { stride: (BLOCK_DIMS / 2) * kDim, offset: 0 });
    const codes = b.named("k_block", ofBlock(k));
    const ahead = b.named("next_block", ofBlock(next));
    const factors = b.named("q_block", op.addr(q, block, { stride: 2 * BLOCK_DIMS, offset: 0 }));
    const scales = op.addr(k, block, { stride: scaleRow, offset: kScalesAt });
    prefetchLines(
      b,
      op.addr(next, block, { stride: scaleRow, offset: kScalesAt }),
      group.map((v) => 2 * v * lanes),
    );
    const pairs = { codes, next: ahead, stride: kDim, count: Math.ceil(dims / 2) };
    const products = multiplyPairs(work, tile, group, pairs, { pointer: factors, stride: qBytes });
    group.forEach((v, i) => {
      const scale = op.vhload(scales, { offset: 2 * v * lanes });
      sums.forEach((ofQuery, n) => {
        const [sum, product] = [ofQuery[i] as Cell<"vf32">, products[n]?.[i] as Value<"vi32">];
        sum.set(op.vfma(op.vitof(product), scale, sum.get()));
      });
    });
  });
  const units = ofQuery(work, tile.first, queryUnits, 4);
  return sums.map((ofQuery, n) => {
    const unit = op.vfsplat(op.fload(units, { offset: 4 * n }));
    return ofQuery.map((sum) => op.vfmul(sum.get(), unit));
  });
}

/** mixed[query] += Σ weight · V over the positions of the chunk's page `inChunk`, for a block of dimensions. */
export function mixCodes(work: AttentionWork, tile: Tile, inChunk: Value<"i32">, block: ValueBlock): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { pageTokens } = spec.kv;
  const { vRow } = kvStrides(spec.kv);
  const { values, next, mixed, dims } = block;
  const layout = scratchLayout(spec);
  const unitStride = 4 * headBlocks(spec.kv);
  const ofTile = ofQuery(work, tile.first, layout.weights, weightBytes(spec));
  const ofBlock = op.addr(ofTile, block.number, { stride: 2 * CHUNK_PAGES * pageTokens, offset: 0 });
  const weights = b.named("weights", op.addr(ofBlock, inChunk, { stride: 2 * pageTokens, offset: 0 }));
  const unitsOfTile = ofQuery(work, tile.first, layout.weightUnits, unitStride);
  const units = b.named("weight_units", op.addr(unitsOfTile, block.number, { stride: 4, offset: 0 }));
  const pairs = { codes: values, next, stride: vRow, count: pageTokens / 2 };
  const factors = { pointer: weights, stride: weightBytes(spec) };
  const vectors = Math.ceil(dims / lanes);
  for (const group of vectorGroups(vectors, vectorsAtOnce(tile.count, vectors))) {
    multiplyPairs(work, tile, group, pairs, factors).forEach((ofQuery, n) => {
      const unit = op.vfsplat(op.fload(units, { offset: n * unitStride }));
      ofQuery.forEach((product, i) => {
        const at = { offset: n * mixedBytes(spec) + 4 * (group[i] as number) * lanes };
        op.vfstore(mixed, op.vfma(op.vitof(product), unit, op.vfload(mixed, at)), at);
      });
    });
  }
}
