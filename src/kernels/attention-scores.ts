import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import {
  type AttentionWork,
  CHUNK_PAGES,
  ofQuery,
  prefetchLines,
  scratchLayout,
  type Tile,
  vectorGroups,
  vectorsAtOnce,
} from "./attention-work.ts";
import { ELEMENT_BYTES, loadElements } from "./elements.ts";
import { BLOCK_DIMS, hasScales, headBlocks, kvStrides } from "./kv-cache.ts";

/** K of a page, that of the page after it, and which page of the chunk it is. */
export interface KeyPage {
  readonly k: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly inChunk: Value<"i32">;
}

type Cells = readonly (readonly Cell<"vf32">[])[];

/** scores[query][position] = q · K for the queries of a tile and all positions of a page. */
export function scoreTile(work: AttentionWork, tile: Tile, page: KeyPage): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { headDim, pageTokens } = spec.kv;
  const layout = scratchLayout(spec);
  const chunkBytes = 4 * CHUNK_PAGES * pageTokens;
  const q = b.named("q_tile", ofQuery(work, tile.first, layout.q, 4 * headDim));
  const row = ofQuery(work, tile.first, layout.scores, chunkBytes);
  const scores = b.named("score_tile", op.addr(row, page.inChunk, { stride: 4 * pageTokens, offset: 0 }));
  const vectors = pageTokens / lanes;
  for (const group of vectorGroups(vectors, vectorsAtOnce(tile.count, vectors))) {
    const sums = zeros(work, tile, group, "s");
    if (!hasScales(spec.kv)) multiply(work, tile, page, q, group, sums, b.i(0), b.i(headDim));
    else multiplyBlocks(work, tile, page, q, group, sums);
    sums.forEach((ofHead, h) => {
      ofHead.forEach((sum, n) => {
        op.vfstore(scores, sum.get(), { offset: h * chunkBytes + 4 * (group[n] as number) * lanes });
      });
    });
  }
}

function zeros({ b }: AttentionWork, { count }: Tile, group: readonly number[], name: string): Cells {
  return Array.from({ length: count }, (_, h) =>
    group.map((v) => b.variable(`${name}${h}_${v}`, b.op.vfconst({ value: 0 }))),
  );
}

/** sums += q · K over the dimensions from `first` to `end`, of codes where elements are codes. */
function multiply(
  { b, spec }: AttentionWork,
  { count }: Tile,
  { k, next }: KeyPage,
  q: Value<"ptr">,
  group: readonly number[],
  sums: Cells,
  first: Value<"i32">,
  end: Value<"i32">,
): void {
  const { op, lanes } = b;
  const { kv } = spec;
  const { kDim } = kvStrides(kv);
  const bytes = lanes * ELEMENT_BYTES[kv.element];
  b.loop("d", first, end, 1, (d) => {
    const kd = op.addr(k, d, { stride: kDim, offset: 0 });
    prefetchLines(b, op.addr(next, d, { stride: kDim, offset: 0 }), group, bytes);
    const qd = op.addr(q, d, { stride: 4, offset: 0 });
    const keys = group.map((v) => loadElements(b, kv.element, kd, v * bytes));
    for (let h = 0; h < count; h++) {
      const value = op.vfsplat(op.fload(qd, { offset: 4 * h * kv.headDim }));
      (sums[h] as readonly Cell<"vf32">[]).forEach((sum, n) => {
        sum.set(op.vfma(keys[n] as Value<"vf32">, value, sum.get()));
      });
    }
  });
}

/** sums += Σ over blocks of (q · codes) · scale. */
function multiplyBlocks(
  work: AttentionWork,
  tile: Tile,
  page: KeyPage,
  q: Value<"ptr">,
  group: readonly number[],
  sums: Cells,
): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { scaleRow, kScalesAt } = kvStrides(spec.kv);
  b.loop("block", 0, headBlocks(spec.kv), 1, (block) => {
    const first = b.named("first", op.imul(block, b.i(BLOCK_DIMS)));
    const end = op.imin(op.iadd(first, b.i(BLOCK_DIMS)), b.i(spec.kv.headDim));
    const products = zeros(work, tile, group, "c");
    multiply(work, tile, page, q, group, products, first, end);
    const scales = op.addr(page.k, block, { stride: scaleRow, offset: kScalesAt });
    prefetchLines(b, op.addr(page.next, block, { stride: scaleRow, offset: kScalesAt }), group, 2 * lanes);
    group.forEach((v, n) => {
      const scale = op.vhload(scales, { offset: 2 * v * lanes });
      products.forEach((ofHead, h) => {
        const sum = (sums[h] as readonly Cell<"vf32">[])[n] as Cell<"vf32">;
        sum.set(op.vfma((ofHead[n] as Cell<"vf32">).get(), scale, sum.get()));
      });
    });
  });
}
