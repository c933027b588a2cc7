import { ELEMENT_BYTES, type ElementType } from "./elements.ts";

/**
 * The paged KV cache of one layer. A page holds `pageTokens` consecutive positions of one sequence:
 *   K  [kv head]{ [dimension][position], scales [block][position] }         positions in lanes: no horizontal sums
 *   V  [kv head]{ [block][position][dimension], scales [block][position] }  dimensions in lanes
 * A block is `BLOCK_DIMS` dimensions of a head, the last one perhaps fewer. What an inner loop of attention reads is
 * consecutive in memory: a block of V, a head of K. Scales (f16) are there only where elements are codes. Codes lie in
 * pairs of what a lane adds up, K as [pair of dimensions][position][2] and V as [block][pair of positions][dimension][2];
 * an odd last dimension of K is beside a code 0.
 * A sequence's page table lists its pages; the same page number is valid in every layer.
 */
export interface KvLayout {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly element: ElementType;
  /** Positions of a page, a multiple of every target's lanes. */
  readonly pageTokens: number;
}

/** Part of the names of kernels that read or write the cache. */
export function kvName({ kvHeads, headDim, element, pageTokens }: KvLayout): string {
  return `kv${kvHeads}_d${headDim}_${element}_p${pageTokens}`;
}

/** Positions per page: two AVX-512 registers, and at most 31 unused positions per sequence. */
export const PAGE_TOKENS = 32;

/** Dimensions of a block: what shares a scale, and whole registers on every target. */
export const BLOCK_DIMS = 32;

/** Blocks of a head. */
export function headBlocks({ headDim }: KvLayout): number {
  return Math.ceil(headDim / BLOCK_DIMS);
}

/** Whether elements are codes, with a scale for each block. */
export function hasScales({ element }: KvLayout): boolean {
  return element === "q8_0";
}

/** Elements of a lane that lie together: dimensions of K, positions of V. */
export function pairing(layout: KvLayout): 1 | 2 {
  return hasScales(layout) ? 2 : 1;
}

/** Byte strides and offsets within a page. */
export function kvStrides(layout: KvLayout) {
  const { headDim, pageTokens, kvHeads } = layout;
  const together = pairing(layout);
  const bytes = together * ELEMENT_BYTES[layout.element];
  const scaleRow = 2 * pageTokens;
  const scales = hasScales(layout) ? headBlocks(layout) * scaleRow : 0;
  const kDim = pageTokens * bytes;
  const kScalesAt = Math.ceil(headDim / together) * kDim;
  const kHead = kScalesAt + scales;
  const vRow = BLOCK_DIMS * bytes;
  const vBlock = (pageTokens / together) * vRow;
  const vScalesAt = headBlocks(layout) * vBlock;
  const vHead = vScalesAt + scales;
  return {
    /** K: one dimension to the next, or one pair of them. */
    kDim,
    kHead,
    /** Where the scales start in a head's K. */
    kScalesAt,
    /** V: one position of a block to the next, or one pair of them. */
    vRow,
    vBlock,
    vHead,
    /** Where the scales start in a head's V. */
    vScalesAt,
    /** One block's scales to the next. */
    scaleRow,
    /** Where V starts in a page. */
    vAt: kvHeads * kHead,
    page: kvHeads * (kHead + vHead),
  };
}
