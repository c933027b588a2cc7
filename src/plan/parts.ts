import { at } from "../base/assert.ts";
import type { ExpertCounts } from "../models/model.ts";
import type { Packing } from "../quant/packing.ts";
import { expertLoad } from "./expert-load.ts";

/** Parts of a step, per thread: a thread that gets less of its core than the others holds them up by one part. */
const PARTS_PER_THREAD = 4;
/** Projections take long enough for parts of a quarter of that. */
const PROJECTION_PARTS = 4;
/**
 * Packed weights of a part times tokens, at least: some 10 µs of one thread's memory bandwidth, 20 times what taking it
 * costs.
 */
const PART_BYTES = 192 * 1024;

/** Parts of a row that are worth sharing, at most. */
const PARTS_PER_ROW = 4;

/**
 * Least rows of the steps that share a table. The kernels are the same for all numbers of rows; into how many parts their
 * work is split depends on how much it is.
 */
export const STEP_ROWS = [1, 2, 4, 16] as const;

/** Which of `STEP_ROWS` a step of so many rows belongs to. */
export function stepClass(rows: number): number {
  return STEP_ROWS.findLastIndex((least) => least <= rows);
}

/** Parts that a step is split into, which the threads take as they come. */
export function stepParts(threads: number): number {
  return threads === 1 ? 1 : PARTS_PER_THREAD * threads;
}

function leastRows(rows: number): number {
  return at(STEP_ROWS, stepClass(rows));
}

/** Parts of what is done row by row (norm, preparation, …) for so many rows: one row is too little to share. */
export function rowParts(rows: number, threads: number): number {
  return rows === 1 ? 1 : Math.min(stepParts(threads), PARTS_PER_ROW * leastRows(rows));
}

/**
 * Parts of a projection of so many tokens: whole row tiles, each part long enough to be worth taking. Of `experts`, those
 * that are expected to meet tokens share the parts.
 */
export function projectionParts(
  { tiles, tileBytes, totalBytes }: Packing,
  tokens: number,
  threads: number,
  experts?: ExpertCounts,
): number {
  if (threads === 1) return 1;
  const load = expertLoad(experts, leastRows(tokens));
  const bytes = load.matrices * totalBytes;
  const worthwhile = Math.floor(bytes / Math.max(tileBytes, PART_BYTES / load.tokens));
  return Math.max(1, Math.min(load.matrices * tiles, worthwhile, PROJECTION_PARTS * stepParts(threads)));
}

/** Queries of an item of attention, at most: enough that loading and converting K and V costs little in prefill. */
const MOST_QUERIES = 16;
/** Rows of a block of prefill come in multiples of this, so that its queries fill tiles. */
const ROW_STEP = 4;

/**
 * Rows and heads of an item of attention, in a step of so many rows. Of one row an item takes the heads of several kv
 * heads, whose K and V lie one after the other, as long as there are items for all parts; with more threads than kv heads
 * the heads of one are split.
 */
export function attentionBlock(
  { heads, kvHeads }: { readonly heads: number; readonly kvHeads: number },
  rows: number,
  threads: number,
): { readonly rows: number; readonly heads: number } {
  const perKv = heads / kvHeads;
  if (rows > 1) {
    const whole = Math.floor(MOST_QUERIES / perKv / ROW_STEP) * ROW_STEP;
    return { rows: Math.max(ROW_STEP, whole), heads: perKv };
  }
  const together = divisors(kvHeads).findLast(
    (n) => n * perKv <= MOST_QUERIES && kvHeads / n >= stepParts(threads),
  );
  if (together !== undefined) return { rows: 1, heads: together * perKv };
  const split = divisors(perKv).find((n) => kvHeads * n >= threads) ?? perKv;
  return { rows: 1, heads: perKv / split };
}

function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
