import type { Activations } from "../kernels/activations.ts";
import { type Format, groupSize } from "../quant/formats.ts";

/** Inputs per activation scale where nothing shorter is called for, and for rows that do not divide into these. */
const LARGEST_BLOCK = 128;
const SMALL_BLOCK = 32;

/**
 * How a projection sees its input unless told otherwise: f32 for float weights, else int8 with one scale per group of
 * weights, so that every segment of a dot product has one scale of each kind. Groups of more than 128 are divided, since
 * one outlier should not coarsen more inputs than that.
 */
export function defaultActivations(format: Format, cols: number): Activations {
  if (format.kind === "float") return { kind: "f32" };
  // A block whose groups share something is summed up with one scale of the activations.
  if (format.block !== undefined) return { kind: "int8", block: format.block };
  const group = groupSize(format, cols);
  if (format.group !== "row" && group <= LARGEST_BLOCK) return { kind: "int8", block: group };
  const blocks = [LARGEST_BLOCK, 64].filter((block) => group % block === 0);
  return { kind: "int8", block: blocks[0] ?? SMALL_BLOCK };
}
