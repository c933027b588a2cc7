import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import {
  CHUNK,
  chunkCount,
  type Format,
  fieldsPerByte,
  groupSize,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { registerUse } from "./registers.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";

/** Instructions of one micro-GEMV: `tu` outputs × `nu` tokens × `inputs` inputs. */
export interface MicroOps {
  /** Vector arithmetic, in micro-ops. */
  readonly arithmetic: number;
  /** Loads: weights, broadcasts, scales. */
  readonly loads: number;
  /** Cycles of the longest chain of dependent instructions. */
  readonly latency: number;
}

/** Loads a core starts in one cycle. */
export const LOADS_PER_CYCLE = 2;
/** Micro-ops that the out-of-order window overlaps (224 … 512 on cores since Skylake and Zen 3). */
const WINDOW = 224;
/** Latency of a multiply-add, f32 or `vpdpbusd`, and of an addition of integers, in cycles. */
const MULTIPLY_ADD_LATENCY = 5;
const FMA_LATENCY = 4;
const ADD_LATENCY = 1;
const FIELDS = 8;

/** Counts the instructions of a micro-GEMV over all of its inputs. */
export function microOps(isa: Isa, shape: ProjectionShape, blocking: Blocking, inputs: number): MicroOps {
  const tile = blocking.tu / isa.lanes;
  if (shape.format.kind === "float") return floatOps(isa, shape.format, tile, blocking.nu, inputs);
  const format = shape.format;
  const int8 = shape.activations.kind === "int8";
  const chunk = int8 ? int8Chunk(isa, format, tile, blocking.nu) : f32Chunk(isa, format, tile, blocking.nu);
  const segment = segmentEnd(isa, format, tile, blocking.nu, int8);
  const use = registerUse(isa, shape, blocking);
  const spills = Math.max(0, use.total - use.available);
  const chunks = chunkCount(inputs);
  const segments = Math.ceil(inputs / layoutOf(shape).segment);
  const arithmetic = chunks * chunk.arithmetic + segments * segment.arithmetic + chunks * spills;
  const loads = chunks * (chunk.loads + spills) + segments * segment.loads;
  const links = chunks * (int8 ? FIELDS : CHUNK);
  const onePerSegment = (arithmetic + loads) / segments;
  const overlapped = Math.min(segments, Math.max(1, WINDOW / onePerSegment));
  const latency = (links * linkLatency(isa, int8)) / overlapped;
  return { arithmetic, loads, latency };
}

/**
 * A link that is one instruction adds inside the multiplier, and the next link waits for all of it. A link of several
 * multiplies beside the chain; only its addition is on it.
 */
function linkLatency(isa: Isa, int8: boolean): number {
  if (!int8) return FMA_LATENCY;
  return isa.costs.dot === 1 ? MULTIPLY_ADD_LATENCY : ADD_LATENCY;
}

interface Count {
  readonly arithmetic: number;
  readonly loads: number;
}

/** Loading and unpacking a chunk's codes for all row vectors of the tile. */
function unpack({ costs }: Isa, format: QuantizedFormat, tile: number): Count {
  let arithmetic = FIELDS * costs.simple * (format.planes.length - 1);
  let position = 0;
  for (const width of format.planes) {
    for (let f = 0; f < fieldsPerByte(width) && width < 8; f++) {
      arithmetic += width * (f * width === position ? costs.field : costs.fieldShifted);
    }
    position += width;
  }
  return { arithmetic: tile * arithmetic, loads: tile * format.bits };
}

/** Links of a chain whose products can be added in 16 bits: ⌊(2^15 − 1) / (2 · (2^bits − 1) · 127)⌋. */
function linksPerClose(bits: number): number {
  return Math.max(1, Math.floor(32767 / (2 * (2 ** bits - 1) * 127)));
}

/** Dot products of a chunk: per row vector and token 8 links, each with its broadcast of four inputs. */
function int8Chunk(isa: Isa, format: QuantizedFormat, tile: number, nu: number): Count {
  const { costs } = isa;
  const codes = unpack(isa, format, tile);
  const closes = format.bits === 8 ? 0 : Math.ceil(FIELDS / linksPerClose(format.bits));
  const dots = FIELDS * (format.bits === 8 ? costs.dot8 : costs.dot) + closes * costs.dotClose;
  return { arithmetic: codes.arithmetic + tile * nu * dots, loads: codes.loads + tile * nu * FIELDS };
}

/** Multiply-adds of a chunk: per row vector 32 weights are taken out of their bytes, per token 32 multiply-adds. */
function f32Chunk(isa: Isa, format: QuantizedFormat, tile: number, nu: number): Count {
  const codes = unpack(isa, format, tile);
  const convert = CHUNK * (1.5 + 1) * isa.costs.simple; // byte 0: and; bytes 1, 2: shift, and; byte 3: shift
  return {
    arithmetic: codes.arithmetic + tile * (convert + nu * CHUNK * multiplyAdd(isa)),
    loads: codes.loads + tile * nu * CHUNK,
  };
}

function multiplyAdd({ fusedMultiplyAdd, costs }: Isa): number {
  return (fusedMultiplyAdd ? 1 : 2) * costs.simple;
}

/** End of a segment: sums are converted, centred, scaled and added to the outputs. */
function segmentEnd(isa: Isa, format: QuantizedFormat, tile: number, nu: number, int8: boolean): Count {
  const { costs } = isa;
  const fma = multiplyAdd(isa);
  const zero = format.zero.kind;
  const perVector =
    costs.halfLoad + (zero === "minimum" ? costs.halfLoad : zero === "code" ? 2 * costs.simple : 0);
  const scaled = int8 ? 2 * costs.simple + fma : fma; // sums to f32, scale · scale
  const perOutput = scaled + (zero === "constant" ? 0 : fma);
  const perToken = 2 * costs.simple;
  return {
    arithmetic: tile * perVector + tile * nu * perOutput + nu * perToken,
    loads: tile * (zero === "constant" ? 1 : 2) + 2 * nu,
  };
}

/** Float weights: per input and row vector one load and, per token, a broadcast and a multiply-add. */
function floatOps(
  isa: Isa,
  format: Extract<Format, { kind: "float" }>,
  tile: number,
  nu: number,
  inputs: number,
): MicroOps {
  const load = { f32: 0, f16: isa.costs.halfLoad, bf16: 2 * isa.costs.simple }[format.element];
  return {
    arithmetic: inputs * tile * (load + nu * multiplyAdd(isa)),
    loads: inputs * (tile + nu),
    latency: inputs * FMA_LATENCY,
  };
}

/** Whole groups that a micro-GEMV of `inputs` inputs walks over. */
export function groupsIn(shape: ProjectionShape, inputs: number): number {
  return shape.format.kind === "float" ? 0 : Math.ceil(inputs / groupSize(shape.format, shape.cols));
}
