import { ELEMENT_BYTES, type ElementType, SCALE_BLOCK } from "./elements.ts";

/**
 * The paged KV cache of one layer. A page holds `pageTokens` consecutive positions of one sequence:
 *   K  [kv head]{ [dimension][position], scales [block][position] }   positions in lanes: scores need no horizontal sums
 *   V  [kv head]{ [position][dimension], scales [block][position] }   dimensions in lanes, padded to a whole register
 * Scales (f16) are there only where elements are codes; a block is `SCALE_BLOCK` dimensions of a position.
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

/** Blocks of a head with a scale each, the last one of fewer dimensions where it has to be; 0 where there are none. */
export function scaleBlocks({ element, headDim }: KvLayout): number {
  return element === "q8_0" ? Math.ceil(headDim / SCALE_BLOCK) : 0;
}

/** Byte strides and offsets within a page. */
export function kvStrides(layout: KvLayout) {
  const { headDim, pageTokens, kvHeads } = layout;
  const bytes = ELEMENT_BYTES[layout.element];
  const scaleRow = 2 * pageTokens;
  const scales = scaleBlocks(layout) * scaleRow;
  const kScalesAt = headDim * pageTokens * bytes;
  const kHead = kScalesAt + scales;
  const vRow = paddedHeadDim(headDim) * bytes;
  const vScalesAt = pageTokens * vRow;
  const vHead = vScalesAt + scales;
  return {
    /** K: one dimension to the next. */
    kDim: pageTokens * bytes,
    kHead,
    /** Where the scales start in a head's K. */
    kScalesAt,
    vRow,
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
