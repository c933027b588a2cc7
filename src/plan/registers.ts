import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { CHUNK, type FloatFormat } from "../quant/formats.ts";
import { CHUNK_FIELDS, linkParts } from "./links.ts";
import type { ProjectionShape } from "./shape.ts";

/** Vector registers of a micro-GEMV: values alive at its widest point. */
export interface RegisterUse {
  /** The outputs and, for quantized weights, the integer (or unscaled) sums of the segment at hand. */
  readonly accumulators: number;
  /** Codes, or weights, that wait for their use. */
  readonly weights: number;
  /** Broadcast inputs that wait for theirs. */
  readonly inputs: number;
  /** A product on its way, masks, constants. */
  readonly temporaries: number;
  readonly total: number;
  readonly available: number;
  /** Values that do not fit and wait in the stack, at a price (`SPILL_MICRO_OPS`). */
  readonly spilled: number;
}

type Live = Pick<RegisterUse, "accumulators" | "weights" | "inputs" | "temporaries">;

export function registerUse(isa: Isa, shape: ProjectionShape, { tu, nu }: Blocking): RegisterUse {
  const tile = tu / isa.lanes;
  const live =
    shape.format.kind === "float"
      ? floatLive(isa, shape.format, tile, nu)
      : shape.activations.kind === "f32"
        ? dequantizedLive(tile, nu)
        : int8Live(isa, shape.format.bits, tile, nu);
  const total = live.accumulators + live.weights + live.inputs + live.temporaries;
  return { ...live, total, available: isa.registers, spilled: Math.max(0, total - isa.registers) };
}

/**
 * Row vector after row vector, and for each of them token after token:
 * - with one token a field is used as soon as it is extracted and only the word it comes from waits; with several the
 *   eight fields of the chunk wait for the last token;
 * - with one row vector an input is used as it is broadcast; with several the eight broadcasts of every token wait for
 *   the last row vector (compilers keep them rather than load them again).
 *
 * On AVX-512 the excess over 32 is, to within one, the number of stores to the stack in gcc's code.
 */
function int8Live(isa: Isa, bits: number, tile: number, nu: number): Live {
  const parts = linkParts(isa, bits);
  return {
    accumulators: 2 * tile * nu,
    weights: nu === 1 ? 1 + parts : CHUNK_FIELDS * parts,
    inputs: tile === 1 ? parts : CHUNK_FIELDS * nu * parts,
    temporaries: isa.costs.dot === 1 ? 2 : 3, // mask, product; ones or a second product
  };
}

/** Weights leave their codes one by one; all 32 inputs of a chunk are broadcast for every row vector. */
function dequantizedLive(tile: number, nu: number): Live {
  return {
    accumulators: 2 * tile * nu,
    weights: 2,
    inputs: tile === 1 ? 1 : CHUNK * nu,
    temporaries: 2, // masks of a field and of a byte
  };
}

/**
 * One input after the other: a weight per row vector in turn, the broadcasts shared by the row vectors. Where f16 is
 * converted by a sequence of instructions, that keeps five constants and two values of its own.
 */
function floatLive({ costs }: Isa, { element }: FloatFormat, tile: number, nu: number): Live {
  const temporaries = element === "f16" && costs.halfLoad > 2 ? 7 : 0;
  return { accumulators: tile * nu, weights: 1, inputs: tile === 1 ? 1 : nu, temporaries };
}
