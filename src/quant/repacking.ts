/**
 * Types of GGUF whose blocks no kernel reads: their weights are named by points of a codebook, or stand five to a byte. Their
 * blocks become, bit for bit the same weights, what `blockOf` says of the type.
 */

import { type BitField, type Block, bitsPerWeight, blockOf, halfAt, readFields, rowBytes } from "./blocks.ts";
import {
  repackIq1m,
  repackIq1s,
  repackIq2s,
  repackIq2xs,
  repackIq2xxs,
  repackIq3s,
  repackIq3xxs,
  repackTq1,
} from "./codebook-blocks.ts";
import { blockCount, FORMATS, type Format, type QuantizedFormat } from "./formats.ts";

/** Reads the block at `at` of a file's bytes and writes all but the block's scale at `to`. */
export type RepackBlock = (from: Uint8Array, at: number, into: Uint8Array, to: number) => void;

/** A type's blocks of 256 weights as they stand in a file. */
export interface Repacking {
  readonly bytes: number;
  /** The f16 that all weights are multiples of. */
  readonly scale: readonly BitField[];
  readonly repack: RepackBlock;
}

/** IQ1_M has four bits of its scale above each of four numbers with scales of groups. */
const SCATTERED = [49, 51, 53, 55].map((byte): BitField => ({ byte, shift: 4, bits: 4 }));

/** By the name of the type and of the format that it becomes (ggml-common.h, `block_*`). */
const REPACKINGS: Readonly<Record<string, Repacking>> = {
  IQ1_S: { bytes: 50, scale: halfAt(0), repack: repackIq1s },
  IQ1_M: { bytes: 56, scale: SCATTERED, repack: repackIq1m },
  IQ2_XXS: { bytes: 66, scale: halfAt(0), repack: repackIq2xxs },
  IQ2_XS: { bytes: 74, scale: halfAt(0), repack: repackIq2xs },
  IQ2_S: { bytes: 82, scale: halfAt(0), repack: repackIq2s },
  IQ3_XXS: { bytes: 98, scale: halfAt(0), repack: repackIq3xxs },
  IQ3_S: { bytes: 110, scale: halfAt(0), repack: repackIq3s },
  TQ1_0: { bytes: 54, scale: halfAt(52), repack: repackTq1 },
};

/** How files have the weights of a format, where that is not how they are read. */
export function repackingOf(format: Format): Repacking | undefined {
  return REPACKINGS[format.name];
}

/** Bytes of a row of `cols` weights in a file. */
export function fileRowBytes(format: Format, cols: number): number {
  const repacking = repackingOf(format);
  if (format.kind === "float" || repacking === undefined) return rowBytes(format, cols);
  return blockCount(format, cols) * repacking.bytes;
}

/** Bits per weight that a type of GGUF is re-packed to, if it is. */
export function repackedBits(type: string): number | undefined {
  const format = FORMATS.get(type);
  return format && repackingOf(format) && bitsPerWeight(format, 256);
}

/** Re-packs whole blocks of a file, one after the other. */
export function repackBlocks(format: QuantizedFormat, from: Uint8Array, into: Uint8Array): void {
  const { bytes, scale, repack } = repackingOf(format) as Repacking;
  const block = blockOf(format, 256);
  const scaleAt = scaleByte(block);
  for (let at = 0, to = 0; at < from.length; at += bytes, to += block.bytes) {
    const half = readFields(from, at, scale);
    into[to + scaleAt] = half;
    into[to + scaleAt + 1] = half >>> 8;
    repack(from, at, into, to);
  }
}

function scaleByte({ halfScale, scale }: Block): number {
  return halfScale ?? scale?.(0)[0]?.byte ?? 0;
}
