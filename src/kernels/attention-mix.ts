import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import {
  type AttentionWork,
  blockOf,
  CHUNK_PAGES,
  ofQuery,
  prefetchLines,
  scratchLayout,
  type Tile,
  vectorGroups,
  vectorsAtOnce,
} from "./attention-work.ts";
import { ELEMENT_BYTES, loadElements } from "./elements.ts";
import { kvStrides, paddedHeadDim, scaleBlocks } from "./kv-cache.ts";

/** V of a page, that of the page after it, which page of the chunk it is, and its positions. */
export interface ValuePage {
  readonly v: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly inChunk: Value<"i32">;
  readonly slots: Value<"i32">;
}

/** Weights of the positions of a page: of query `h` of the tile for the dimensions of a block, from `offset` on. */
interface Weights {
  readonly pointer: Value<"ptr">;
  readonly offset: (h: number, block: number) => number;
}

/** mixed[query] += Σ weight · V over the positions of a page, for the queries of a tile. */
export function mixTile(work: AttentionWork, tile: Tile, page: ValuePage): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { kv } = spec;
  const { vRow } = kvStrides(kv);
  const rowBytes = 4 * paddedHeadDim(kv.headDim);
  const bytes = lanes * ELEMENT_BYTES[kv.element];
  const mixed = b.named("mixed_tile", ofQuery(work, tile.first, scratchLayout(spec).mixed, rowBytes));
  const weights = weightsOf(work, tile, page);
  const vectors = Math.ceil(kv.headDim / lanes);
  const heads = Array.from({ length: tile.count }, (_, h) => h);
  for (const group of vectorGroups(vectors, vectorsAtOnce(tile.count, vectors))) {
    const at = (h: number, v: number) => ({ offset: h * rowBytes + 4 * v * lanes });
    const sums = heads.map((h) => group.map((v) => b.variable(`o${h}_${v}`, op.vfload(mixed, at(h, v)))));
    b.loop("slot", 0, page.slots, 1, (slot) => {
      const row = op.addr(page.v, slot, { stride: vRow, offset: 0 });
      prefetchLines(b, op.addr(page.next, slot, { stride: vRow, offset: 0 }), group, bytes);
      const ofSlot = op.addr(weights.pointer, slot, { stride: 4, offset: 0 });
      const splats = new Map<number, Value<"vf32">>();
      const weight = (h: number, v: number) => {
        const offset = weights.offset(h, blockOf(b, v));
        const splat = splats.get(offset) ?? op.vfsplat(op.fload(ofSlot, { offset }));
        splats.set(offset, splat);
        return splat;
      };
      group.forEach((v, n) => {
        const values = loadElements(b, kv.element, row, v * bytes);
        for (const h of heads) {
          const sum = (sums[h] as Cell<"vf32">[])[n] as Cell<"vf32">;
          sum.set(op.vfma(values, weight(h, v), sum.get()));
        }
      });
    });
    sums.forEach((ofHead, h) => {
      ofHead.forEach((sum, n) => op.vfstore(mixed, sum.get(), at(h, group[n] as number)));
    });
  }
}

/** The weights themselves, or where elements are codes their products with the scales of each block. */
function weightsOf(work: AttentionWork, tile: Tile, page: ValuePage): Weights {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { pageTokens } = spec.kv;
  const layout = scratchLayout(spec);
  const chunkBytes = 4 * CHUNK_PAGES * pageTokens;
  const first = ofQuery(work, tile.first, layout.scores, chunkBytes);
  const pointer = b.named("weights", op.addr(first, page.inChunk, { stride: 4 * pageTokens, offset: 0 }));
  const blocks = scaleBlocks(spec.kv);
  if (blocks === 0) return { pointer, offset: (h) => h * chunkBytes };
  const { scaleRow, vScalesAt } = kvStrides(spec.kv);
  const offset = (h: number, block: number) => layout.scaled + 4 * pageTokens * (h * blocks + block);
  for (let block = 0; block < blocks; block++) {
    const scales = { offset: vScalesAt + block * scaleRow };
    b.op.prefetch(page.next, scales);
    b.loop("p", 0, pageTokens, lanes, (p) => {
      const scale = op.vhload(op.addr(page.v, p, { stride: 2, offset: 0 }), scales);
      const from = op.addr(pointer, p, { stride: 4, offset: 0 });
      const to = op.addr(work.scratch, p, { stride: 4, offset: 0 });
      for (let h = 0; h < tile.count; h++) {
        const product = op.vfmul(op.vfload(from, { offset: h * chunkBytes }), scale);
        op.vfstore(to, product, { offset: offset(h, block) });
      }
    });
  }
  return { pointer: work.scratch, offset };
}
