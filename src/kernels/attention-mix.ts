import type { Value } from "../ir/types.ts";
import { mixCodes } from "./attention-codes.ts";
import {
  type AttentionWork,
  CHUNK_PAGES,
  chainsOf,
  forEachBlock,
  mixedBytes,
  ofQuery,
  prefetchLines,
  scratchLayout,
  type Tile,
  total,
  type ValueBlock,
  vectorGroups,
  vectorsAtOnce,
} from "./attention-work.ts";
import { ELEMENT_BYTES, type FloatElement, loadElements } from "./elements.ts";
import { BLOCK_DIMS, kvStrides } from "./kv-cache.ts";

/** V of a page, what is asked for meanwhile, which page it is, and which of the chunk. */
export interface ValuePage {
  readonly v: Value<"ptr">;
  readonly next: Value<"ptr">;
  readonly inChunk: Value<"i32">;
  readonly page: Value<"i32">;
}

/** f32 weights of the positions of a page, `stride` bytes from one query of the tile to the next. */
interface Weights {
  readonly pointer: Value<"ptr">;
  readonly stride: number;
  /** How many positions there are. */
  readonly slots: Value<"i32">;
}

/** mixed[query] += Σ weight · V over the positions of a page, for the queries of a tile. */
export function mixTile(work: AttentionWork, tile: Tile, page: ValuePage): void {
  const { b, spec } = work;
  const { op } = b;
  const { pageTokens, element } = spec.kv;
  const layout = scratchLayout(spec);
  const { vBlock } = kvStrides(spec.kv);
  const mixedOfTile = b.named("mixed_tile", ofQuery(work, tile.first, layout.mixed, mixedBytes(spec)));
  const eachBlock = (body: (block: ValueBlock) => void) =>
    forEachBlock(work, (number, dims) => {
      const at = (p: Value<"ptr">, stride: number) => op.addr(p, number, { stride, offset: 0 });
      const values = b.named("v_block", at(page.v, vBlock));
      const next = b.named("next_block", at(page.next, vBlock));
      const mixed = b.named("mixed_block", at(mixedOfTile, 4 * BLOCK_DIMS));
      body({ number, dims, values, next, mixed });
    });
  if (element === "q8_0") {
    eachBlock((block) => mixCodes(work, tile, page.inChunk, block));
    return;
  }
  const stride = 4 * CHUNK_PAGES * pageTokens;
  const ofChunk = ofQuery(work, tile.first, layout.scores, stride);
  const pointer = op.addr(ofChunk, page.inChunk, { stride: 4 * pageTokens, offset: 0 });
  const left = op.isub(op.iadd(work.lastPosition, b.i(1)), op.imul(page.page, b.i(pageTokens)));
  const slots = b.named("slots", op.imin(left, b.i(pageTokens)));
  const weights = { pointer: b.named("weights", pointer), stride, slots };
  eachBlock((block) => mixBlock(work, element, tile, weights, block));
}

/** The same for a block of dimensions. */
function mixBlock(
  work: AttentionWork,
  element: FloatElement,
  tile: Tile,
  weights: Weights,
  { values, next, mixed, dims }: ValueBlock,
): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const { vRow } = kvStrides(spec.kv);
  const bytes = lanes * ELEMENT_BYTES[element];
  const { pointer, stride, slots } = weights;
  const queries = Array.from({ length: tile.count }, (_, n) => n);
  const vectors = Math.ceil(dims / lanes);
  for (const group of vectorGroups(vectors, vectorsAtOnce(tile.count, vectors))) {
    const at = (query: number, v: number) => ({ offset: query * mixedBytes(spec) + 4 * v * lanes });
    const chains = Array.from({ length: chainsOf(spec) }, (_, chain) =>
      queries.map((n) =>
        group.map((v) => {
          const start = chain === 0 ? op.vfload(mixed, at(n, v)) : op.vfconst({ value: 0 });
          return b.variable(`o${n}_${v}`, start);
        }),
      ),
    );
    const mixRows = (slot: Value<"i32">, rows: typeof chains) => {
      const from = op.addr(values, slot, { stride: vRow, offset: 0 });
      const ahead = op.addr(next, slot, { stride: vRow, offset: 0 });
      prefetchLines(
        b,
        ahead,
        rows.flatMap((_, row) => group.map((v) => row * vRow + v * bytes)),
      );
      const ofSlot = op.addr(pointer, slot, { stride: 4, offset: 0 });
      rows.forEach((sums, row) => {
        const loaded = group.map((v) => loadElements(b, element, from, row * vRow + v * bytes));
        sums.forEach((ofQuery, n) => {
          const weight = op.vfsplat(op.fload(ofSlot, { offset: n * stride + 4 * row }));
          ofQuery.forEach((sum, i) => {
            sum.set(op.vfma(loaded[i] as Value<"vf32">, weight, sum.get()));
          });
        });
      });
    };
    const whole = op.isub(slots, op.irem(slots, b.i(chains.length)));
    b.loop("slot", 0, whole, chains.length, (slot) => mixRows(slot, chains));
    if (chains.length > 1) b.loop("slot", whole, slots, 1, (slot) => mixRows(slot, chains.slice(0, 1)));
    total(b, chains).forEach((ofQuery, n) => {
      ofQuery.forEach((sum, i) => op.vfstore(mixed, sum, at(n, group[i] as number)));
    });
  }
}
