import type { Isa } from "../isa/isa.ts";

/** Links of the dot chain of a chunk: 32 inputs, four to a link. */
export const CHUNK_FIELDS = 8;

/** Micro-ops of one link for codes of `bits` bits. */
export function linkMicroOps({ costs }: Isa, bits: number): number {
  return bits === 8 ? costs.dot8 : costs.dot;
}

/**
 * Multiplications of one link. A target without byte products splits codes and inputs into even and odd bytes and
 * multiplies them apart: two splits, two products, two sums. Fewer micro-ops mean one product.
 */
export function linkParts(isa: Isa, bits: number): 1 | 2 {
  return linkMicroOps(isa, bits) >= 6 ? 2 : 1;
}

/**
 * Micro-ops that close the chain of a chunk. Partial sums in 16 bits hold ⌊(2^15 − 1) / (2 · (2^bits − 1) · 127)⌋
 * products of an unsigned and a signed byte, pairs already added; then they are widened.
 */
export function closeMicroOps({ costs }: Isa, bits: number): number {
  if (bits === 8) return 0;
  const links = Math.max(1, Math.floor(32767 / (2 * (2 ** bits - 1) * 127)));
  return Math.ceil(CHUNK_FIELDS / links) * costs.dotClose;
}

/**
 * Cycles that a link keeps its accumulator busy. A link of one micro-op adds inside the multiplier, so that the next
 * waits for all of it; of a longer link only the addition is on the chain.
 */
export function linkLatency({ costs }: Isa): number {
  return costs.dot === 1 ? MULTIPLY_ADD_LATENCY : ADD_LATENCY;
}

/** `vpdpbusd`: 5 cycles on Intel, 4 on AMD. */
const MULTIPLY_ADD_LATENCY = 5;
const ADD_LATENCY = 1;
