import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { scoreCodes } from "./attention-codes.ts";
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
import { ELEMENT_BYTES, type FloatElement, loadElements } from "./elements.ts";
import { kvStrides } from "./kv-cache.ts";

/** K of a page, that of the page after it, and which page of the chunk it is. */
export interface KeyPage {
  readonly k: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly inChunk: Value<"i32">;
}

/** scores[query][position] = q · K for the queries of a tile and all positions of a page. */
export function scoreTile(work: AttentionWork, tile: Tile, page: KeyPage): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { element, pageTokens } = spec.kv;
  const layout = scratchLayout(spec);
  const chunkBytes = 4 * CHUNK_PAGES * pageTokens;
  const q = b.named("q_tile", ofQuery(work, tile.first, layout.q, layout.qBytes));
  const row = ofQuery(work, tile.first, layout.scores, chunkBytes);
  const scores = b.named("score_tile", op.addr(row, page.inChunk, { stride: 4 * pageTokens, offset: 0 }));
  const vectors = pageTokens / lanes;
  for (const group of vectorGroups(vectors, vectorsAtOnce(tile.count, vectors))) {
    const sums =
      element === "q8_0"
        ? scoreCodes(work, tile, page, q, group)
        : multiply(work, element, tile, page, q, group);
    sums.forEach((ofQuery, n) => {
      ofQuery.forEach((sum, i) => {
        op.vfstore(scores, sum, { offset: n * chunkBytes + 4 * (group[i] as number) * lanes });
      });
    });
  }
}

/** Σ q · K per query and vector. */
function multiply(
  work: AttentionWork,
  element: FloatElement,
  tile: Tile,
  { k, next }: KeyPage,
  q: Value<"ptr">,
  group: readonly number[],
): Value<"vf32">[][] {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { kv } = spec;
  const { kDim } = kvStrides(kv);
  const { qBytes } = scratchLayout(spec);
  const bytes = lanes * ELEMENT_BYTES[element];
  const chains = kv.headDim % 2 === 0 ? chainsOf(spec) : 1;
  const sums = Array.from({ length: chains }, () => zeros(work, tile, group));
  b.loop("d", 0, kv.headDim, chains, (d) => {
    const kd = op.addr(k, d, { stride: kDim, offset: 0 });
    const qd = op.addr(q, d, { stride: 4, offset: 0 });
    const ahead = op.addr(next, d, { stride: kDim, offset: 0 });
    prefetchLines(
      b,
      ahead,
      sums.flatMap((_, row) => group.map((v) => row * kDim + v * bytes)),
    );
    sums.forEach((ofRow, row) => {
      const keys = group.map((v) => loadElements(b, element, kd, row * kDim + v * bytes));
      ofRow.forEach((ofQuery, n) => {
        const value = op.vfsplat(op.fload(qd, { offset: n * qBytes + 4 * row }));
        ofQuery.forEach((sum, i) => {
          sum.set(op.vfma(keys[i] as Value<"vf32">, value, sum.get()));
        });
      });
    });
  });
  return total(b, sums);
}

function zeros({ b }: AttentionWork, { count }: Tile, group: readonly number[]): Cell<"vf32">[][] {
  return Array.from({ length: count }, (_, n) =>
    group.map((v) => b.variable(`s${n}_${v}`, b.op.vfconst({ value: 0 }))),
  );
}
