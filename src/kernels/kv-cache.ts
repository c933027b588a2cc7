import { ELEMENT_BYTES, type ElementType } from "./elements.ts";

/**
 * The paged KV cache of one layer. A page holds `pageTokens` consecutive positions of one sequence:
 *   K  [kv head][dimension][position]   positions in lanes: scores need no horizontal sums
 *   V  [kv head][position][dimension]   dimensions in lanes, padded to a whole register
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

/** Dimensions of a stored V row: whole registers on every target. */
export function paddedHeadDim(headDim: number): number {
  return Math.ceil(headDim / 16) * 16;
}

/** Byte strides and offsets within a page. */
export function kvStrides(layout: KvLayout) {
  const bytes = ELEMENT_BYTES[layout.element];
  const kHead = layout.headDim * layout.pageTokens * bytes;
  const vRow = paddedHeadDim(layout.headDim) * bytes;
  const vHead = layout.pageTokens * vRow;
  return {
    /** K: one dimension to the next. */
    kDim: layout.pageTokens * bytes,
    kHead,
    vRow,
    vHead,
    /** Where V starts in a page. */
    vAt: layout.kvHeads * kHead,
    page: layout.kvHeads * (kHead + vHead),
  };
}
