import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import type { ProjectionShape } from "./shape.ts";

/** Vector registers of a micro-GEMV. */
export interface RegisterUse {
  /** f32 outputs and, inside a segment, its sums: both live for every output of every token. */
  readonly accumulators: number;
  /** Code registers, or weights, that wait for their use. */
  readonly weights: number;
  /** Broadcast inputs, products, masks. */
  readonly temporaries: number;
  readonly total: number;
  readonly available: number;
}

/** Fields of a chunk: 32 inputs in registers of four each. */
const CHUNK_FIELDS = 8;

/**
 * Live values at the widest point of the micro-GEMV. Quantized: tile · nu outputs, as many sums of the segment; with
 * one token a code field is used as soon as it is extracted (the word it comes from stays), with several all eight
 * fields of a chunk wait until the last token has used them. Float: tile · nu outputs, one weight.
 * Temporaries: the broadcast input, a product (where the dot product is more than one instruction), the field mask.
 */
export function registerUse(isa: Isa, shape: ProjectionShape, { tu, nu }: Blocking): RegisterUse {
  const outputs = nu * (tu / isa.lanes);
  const quantized = shape.format.kind === "quantized";
  const accumulators = quantized ? 2 * outputs : outputs;
  const weights = !quantized ? 1 : nu === 1 ? 2 : CHUNK_FIELDS;
  const temporaries = !quantized ? 1 : isa.costs.dot === 1 ? 2 : 3;
  const total = accumulators + weights + temporaries;
  return { accumulators, weights, temporaries, total, available: isa.registers };
}
