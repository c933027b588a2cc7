import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import {
  type AttentionWork,
  CHUNK_PAGES,
  chainsOf,
  ofQuery,
  prefetchLines,
  scratchLayout,
  type Tile,
  total,
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

/** Of every query of a tile, for every vector of a group. */
type Sums = readonly (readonly Value<"vf32">[])[];

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
    const sums = hasScales(spec.kv)
      ? multiplyBlocks(work, tile, page, q, group)
      : multiply(work, tile, page, q, group, b.i(0), b.i(headDim));
    sums.forEach((ofQuery, n) => {
      ofQuery.forEach((sum, i) => {
        op.vfstore(scores, sum, { offset: n * chunkBytes + 4 * (group[i] as number) * lanes });
      });
    });
  }
}

/** Σ q · K over the dimensions from `first` to `end`, per query and vector; of codes where elements are codes. */
function multiply(
  work: AttentionWork,
  tile: Tile,
  { k, next }: KeyPage,
  q: Value<"ptr">,
  group: readonly number[],
  first: Value<"i32">,
  end: Value<"i32">,
): Sums {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { kv } = spec;
  const { kDim } = kvStrides(kv);
  const bytes = lanes * ELEMENT_BYTES[kv.element];
  const chains = kv.headDim % 2 === 0 ? chainsOf(spec) : 1;
  const sums = Array.from({ length: chains }, () => zeros(work, tile, group));
  b.loop("d", first, end, chains, (d) => {
    const kd = op.addr(k, d, { stride: kDim, offset: 0 });
    const qd = op.addr(q, d, { stride: 4, offset: 0 });
    const ahead = op.addr(next, d, { stride: kDim, offset: 0 });
    prefetchLines(
      b,
      ahead,
      sums.flatMap((_, row) => group.map((v) => row * kDim + v * bytes)),
    );
    sums.forEach((ofRow, row) => {
      const keys = group.map((v) => loadElements(b, kv.element, kd, row * kDim + v * bytes));
      ofRow.forEach((ofQuery, n) => {
        const value = op.vfsplat(op.fload(qd, { offset: 4 * (n * kv.headDim + row) }));
        ofQuery.forEach((sum, i) => {
          sum.set(op.vfma(keys[i] as Value<"vf32">, value, sum.get()));
        });
      });
    });
  });
  return total(b, sums);
}

/** Σ over blocks of (q · codes) · scale. */
function multiplyBlocks(
  work: AttentionWork,
  tile: Tile,
  page: KeyPage,
  q: Value<"ptr">,
  group: readonly number[],
): Sums {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { scaleRow, kScalesAt } = kvStrides(spec.kv);
  const sums = zeros(work, tile, group);
  b.loop("block", 0, headBlocks(spec.kv), 1, (block) => {
    const first = b.named("first", op.imul(block, b.i(BLOCK_DIMS)));
    const end = op.imin(op.iadd(first, b.i(BLOCK_DIMS)), b.i(spec.kv.headDim));
    const scales = op.addr(page.k, block, { stride: scaleRow, offset: kScalesAt });
    const ahead = op.addr(page.next, block, { stride: scaleRow, offset: kScalesAt });
    prefetchLines(
      b,
      ahead,
      group.map((v) => 2 * v * lanes),
    );
    const products = multiply(work, tile, page, q, group, first, end);
    group.forEach((v, i) => {
      const scale = op.vhload(scales, { offset: 2 * v * lanes });
      sums.forEach((ofQuery, n) => {
        const [sum, product] = [ofQuery[i] as Cell<"vf32">, products[n]?.[i] as Value<"vf32">];
        sum.set(op.vfma(product, scale, sum.get()));
      });
    });
  });
  return total(b, [sums]);
}

function zeros({ b }: AttentionWork, { count }: Tile, group: readonly number[]): Cell<"vf32">[][] {
  return Array.from({ length: count }, (_, n) =>
    group.map((v) => b.variable(`s${n}_${v}`, b.op.vfconst({ value: 0 }))),
  );
}
