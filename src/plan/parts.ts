import type { Packing } from "../quant/packing.ts";

/** Parts of a step, per thread: a thread that gets less of its core than the others holds them up by one part. */
const PARTS_PER_THREAD = 4;
/** Projections take long enough for parts of a quarter of that. */
const PROJECTION_PARTS = 4;
/** Packed weights of a part, at least: some 10 µs of one thread's memory bandwidth, 20 times what taking it costs. */
const PART_BYTES = 192 * 1024;

/** Parts that a step is split into, which the threads take as they come. */
export function stepParts(threads: number): number {
  return threads === 1 ? 1 : PARTS_PER_THREAD * threads;
}

/** Parts of a projection: whole row tiles, each part long enough to be worth taking. */
export function projectionParts(
  { tiles, tileBytes, totalBytes }: Packing,
  tokens: "decode" | "prefill",
  threads: number,
): number {
  if (threads === 1) return 1;
  const worthwhile = Math.floor(totalBytes / (tokens === "decode" ? PART_BYTES : tileBytes));
  return Math.max(1, Math.min(tiles, worthwhile, PROJECTION_PARTS * stepParts(threads)));
}

/** Queries that share a pass over K and V in prefill: enough that loading and converting them costs little. */
const PREFILL_QUERIES = 16;
/** Rows of a block of prefill come in multiples of this, so that its queries fill tiles. */
const ROW_STEP = 4;

/**
 * Rows and heads that share a pass over K and V. In decode the heads of a kv head share it as far as there are kv heads
 * for all threads; with more threads they are split.
 */
export function attentionBlock(
  { heads, kvHeads }: { readonly heads: number; readonly kvHeads: number },
  tokens: "decode" | "prefill",
  threads: number,
): { readonly rows: number; readonly heads: number } {
  const perKv = heads / kvHeads;
  if (tokens === "prefill") {
    const rows = Math.floor(PREFILL_QUERIES / perKv / ROW_STEP) * ROW_STEP;
    return { rows: Math.max(ROW_STEP, rows), heads: perKv };
  }
  const splits = Array.from({ length: perKv }, (_, i) => i + 1).filter((n) => perKv % n === 0);
  const split = splits.find((n) => kvHeads * n >= threads) ?? perKv;
  return { rows: 1, heads: perKv / split };
}
