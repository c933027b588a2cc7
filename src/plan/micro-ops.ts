import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import {
  CHUNK,
  chunkCount,
  type FloatFormat,
  fieldsPerByte,
  groupCount,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { CHUNK_FIELDS, closeMicroOps, linkLatency, linkMicroOps, linkParts } from "./links.ts";
import { type RegisterUse, registerUse } from "./registers.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";

/** Instructions of the micro-GEMVs of one row tile: `tu` outputs × `nu` tokens × all inputs. */
export interface MicroOps {
  /** Vector arithmetic and spills, in micro-ops. */
  readonly arithmetic: number;
  /** Vector loads and broadcasts. */
  readonly loads: number;
  /** Cycles that chains of dependent instructions take, as far as they cannot overlap. */
  readonly latency: number;
  /** Cycles of loop control: groups, and chunks where they are not unrolled. */
  readonly control: number;
}

/** Loads that a core starts in one cycle. */
export const LOADS_PER_CYCLE = 2;
/** Micro-ops that the out-of-order window holds: 224 (Skylake), 256 (Zen 3), 512 (Golden Cove). */
const WINDOW = 256;
/**
 * A value that waits in the stack is stored (address, data) and loaded again: an input in every chunk and by every row
 * vector but the first, a sum or an output in some chunks. C compilers fold most reloads into instructions; V8 does
 * not, and stores more than it must. Fitted with gcc 12 and Node 20 on Zen 3.
 */
const SPILL_MICRO_OPS = {
  c: { input: 4, other: 2 },
  wasm: { input: 12, other: 12 },
} as const satisfies Record<Isa["syntax"], unknown>;
/** An f32 multiply-add waits so long for its accumulator, and for one that was spilled: store forwarding. */
const FMA_LATENCY = 4;
const SPILLED_FMA_LATENCY = 14;
/** Splitting a broadcast input into even and odd bytes, where links need that (`linkParts`). */
const INPUT_SPLIT = 3;
/** Cycles of a round of the group loop (addresses of record, inputs, scales, sums) and of the chunk loop. */
const GROUP_CYCLES = 3;
const CHUNK_LOOP_CYCLES = 2;

export function microOps(isa: Isa, shape: ProjectionShape, blocking: Blocking): MicroOps {
  const tile = blocking.tu / isa.lanes;
  const use = registerUse(isa, shape, blocking);
  return shape.format.kind === "float"
    ? floatOps(isa, shape.format, tile, blocking.nu, shape.cols, use)
    : quantizedOps(isa, shape, shape.format, tile, blocking, use);
}

/** Vector micro-ops of some part of the kernel. */
interface Count {
  readonly arithmetic: number;
  readonly loads: number;
}

function quantizedOps(
  isa: Isa,
  shape: ProjectionShape,
  format: QuantizedFormat,
  tile: number,
  { mu, nu }: Blocking,
  use: RegisterUse,
): MicroOps {
  const int8 = shape.activations.kind === "int8";
  const chunks = chunkCount(shape.cols);
  const { segments } = layoutOf(shape);
  const codes = unpack(isa, format);
  const products = int8 ? int8Products(isa, format.bits, tile, nu) : f32Products(isa, tile, nu);
  const end = segmentEnd(isa, format, tile, nu, int8);
  const rounds = chunkRounds(shape, mu);
  const perChunk = {
    arithmetic: tile * codes.arithmetic + products.arithmetic + spillMicroOps(isa, use),
    loads: tile * codes.loads + products.loads,
  };
  const chain = int8
    ? { cycles: CHUNK_FIELDS * linkLatency(isa), serial: tile * nu }
    : { cycles: CHUNK * FMA_LATENCY, serial: tile };
  const perSegment = chunks / segments;
  const stall = stallPerChunk(chain, perSegment, perChunk.arithmetic + perChunk.loads);
  return {
    arithmetic: chunks * perChunk.arithmetic + segments * end.arithmetic + rounds * tile * nu,
    loads: chunks * perChunk.loads + segments * end.loads,
    latency: chunks * stall,
    control: groupCount(format, shape.cols) * GROUP_CYCLES + rounds * CHUNK_LOOP_CYCLES,
  };
}

/** Inputs, of which there are many, are spilled first. */
function spillMicroOps({ syntax }: Isa, { inputs, spilled }: RegisterUse): number {
  const price = SPILL_MICRO_OPS[syntax];
  const spilledInputs = inputs > 1 ? Math.min(inputs, spilled) : 0;
  return price.input * spilledInputs + price.other * (spilled - spilledInputs);
}

/**
 * Cycles that a chunk takes at least, when each of its outputs is a chain of `cycles` that goes on through the
 * `perSegment` chunks of a segment, and `serial` of them stand one after the other in the program.
 *
 * The window holds WINDOW of the program's micro-ops. If it spans a chunk but not the segment, all chains of the chunk
 * advance together and the next chunk waits: `cycles`. If it spans n segments, n of them advance together. If it spans
 * only a part of the chunk, no more than that part of the chains advances at a time, at worst one of them.
 */
function stallPerChunk(
  chain: { readonly cycles: number; readonly serial: number },
  perSegment: number,
  chunkOps: number,
): number {
  const chunksPerWindow = WINDOW / chunkOps;
  const within = Math.min(1, perSegment / chunksPerWindow);
  const beyond = Math.min(1 / chunksPerWindow, chain.serial);
  return chain.cycles * Math.max(within, beyond);
}

/** Rounds of the chunk loop of all segments: none where `mu` covers the segment and it is unrolled. */
function chunkRounds(shape: ProjectionShape, mu: number): number {
  const { segment, segments } = layoutOf(shape);
  const int8 = shape.activations.kind === "int8";
  if (int8 && segment <= mu) return 0;
  return segments * Math.ceil(chunkCount(segment) / (int8 ? mu / CHUNK : 1));
}

/** Loading and unpacking the codes of a chunk for one row vector: w words for a plane of w bits, 8 fields each plane. */
function unpack({ costs }: Isa, { planes, bits }: QuantizedFormat): Count {
  let arithmetic = CHUNK_FIELDS * costs.simple * (planes.length - 1); // planes joined by or
  let position = 0;
  for (const width of planes) {
    for (let f = 0; f < fieldsPerByte(width) && width < 8; f++) {
      arithmetic += width * (f * width === position ? costs.field : costs.fieldShifted);
    }
    position += width;
  }
  return { arithmetic, loads: bits };
}

/** Dot products of a chunk: eight links for every output, their inputs broadcast (and split) once for all row vectors. */
function int8Products(isa: Isa, bits: number, tile: number, nu: number): Count {
  const chain = CHUNK_FIELDS * linkMicroOps(isa, bits) + closeMicroOps(isa, bits);
  const split = linkParts(isa, bits) === 2 ? INPUT_SPLIT : 0;
  return { arithmetic: tile * nu * chain + nu * CHUNK_FIELDS * split, loads: nu * CHUNK_FIELDS };
}

/** Multiply-adds of a chunk: 32 weights of every row vector leave their bytes, then one multiply-add per token. */
function f32Products(isa: Isa, tile: number, nu: number): Count {
  const byte = 1.5 * isa.costs.simple; // and; shift, and; shift, and; shift
  const weights = CHUNK * (byte + isa.costs.simple);
  return { arithmetic: tile * (weights + nu * CHUNK * multiplyAdd(isa)), loads: nu * CHUNK };
}

function multiplyAdd({ fusedMultiplyAdd, costs }: Isa): number {
  return (fusedMultiplyAdd ? 1 : 2) * costs.simple;
}

/**
 * End of a segment (`halfLoad` counts its load, which is one of `loads` here). Per row vector: the scale, the minimum or zero point (loaded, widened, converted). Per output: the
 * sum converted and centred, scale · scale, one multiply-add. Per token: two broadcasts (scale, Σx) and their loads.
 */
function segmentEnd(isa: Isa, format: QuantizedFormat, tile: number, nu: number, int8: boolean): Count {
  const { simple, halfLoad } = isa.costs;
  const fma = multiplyAdd(isa);
  const zero = { constant: 0, code: 2 * simple, minimum: halfLoad - 1 }[format.zero.kind];
  const output = (int8 ? 2 * simple : 0) + fma + (format.zero.kind === "constant" ? 0 : fma);
  return {
    arithmetic: tile * (halfLoad - 1 + zero) + tile * nu * output + nu * 2 * simple,
    loads: tile * (format.zero.kind === "constant" ? 1 : 2) + 2 * nu,
  };
}

/**
 * Float weights: for every input a load per row vector, a broadcast per token, a multiply-add per output. Every output
 * is one chain through all inputs.
 */
function floatOps(
  isa: Isa,
  format: FloatFormat,
  tile: number,
  nu: number,
  inputs: number,
  use: RegisterUse,
): MicroOps {
  const load = { f32: 0, f16: isa.costs.halfLoad - 1, bf16: 2 * isa.costs.simple }[format.element];
  return {
    arithmetic: inputs * (tile * (load + nu * multiplyAdd(isa)) + spillMicroOps(isa, use)),
    loads: inputs * (tile + nu),
    latency: inputs * (use.spilled > 0 ? SPILLED_FMA_LATENCY : FMA_LATENCY),
    control: inputs / 2,
  };
}
