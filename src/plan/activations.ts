import type { Activations } from "../kernels/activations.ts";
import { type Format, groupSize } from "../quant/formats.ts";

/** Inputs per activation scale for rows without groups. */
const LONE_BLOCK = 128;

/**
 * How a projection sees its input unless told otherwise: f32 for float weights, else int8 with one scale per group of
 * weights, so that every segment of a dot product has one scale of each kind.
 */
export function defaultActivations(format: Format, cols: number): Activations {
  if (format.kind === "float") return { kind: "f32" };
  if (format.group !== "row") return { kind: "int8", block: groupSize(format, cols) };
  return { kind: "int8", block: cols % LONE_BLOCK === 0 ? LONE_BLOCK : 32 };
}
