import type { Activations } from "../kernels/activations.ts";
import { type Format, groupSize } from "../quant/formats.ts";

/** Inputs per activation scale: at most, and at least, which is also for rows that do not divide into larger ones. */
const LARGEST_BLOCK = 128;
const SMALL_BLOCK = 32;

/**
 * How a projection sees its input unless told otherwise: f32 for float weights, else int8 with one scale per group of
 * weights, so that every segment of a dot product has one scale of each kind. Groups of more than 128 are divided, since
 * one outlier should not coarsen more inputs than that.
 */
export function defaultActivations(format: Format, cols: number): Activations {
  if (format.kind === "float") return { kind: "f32" };
  if (format.inputs !== undefined) return { kind: "int8", block: format.inputs };
  const group = groupSize(format, cols);
  if (format.group !== "row" && group <= LARGEST_BLOCK)
    return { kind: "int8", block: Math.max(group, SMALL_BLOCK) };
  const blocks = [LARGEST_BLOCK, 64].filter((block) => group % block === 0);
  return { kind: "int8", block: blocks[0] ?? SMALL_BLOCK };
}
