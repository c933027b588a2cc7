import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/blocking.ts";
import { blockSize, CHUNK, type Format, isSigns } from "../quant/formats.ts";
import { sharedVectors } from "../quant/packing.ts";
import { panelInputs } from "../quant/sign-words.ts";
import type { ProjectionShape } from "./shape.ts";

/** Row vectors of a packed tile; of those that share registers, one or two registers. */
const TILES = [1, 2, 4];
/** Packed row counts are multiples of this, so a tile must divide it. */
export const ROW_BLOCK = 128;
/** Tokens of the micro-GEMV. */
const TOKENS = [1, 2, 4, 8];
/** Row tiles of a mini-GEMV. */
const BLOCK_TILES = [1, 2, 4, 8, 16, 32];
/** Inputs of a mini-GEMV, before rounding to whole scales. */
const INPUTS = [1024, 4096];
/** Accumulators of one kind, at most: more fit no register file, and the unrolled code would leave the µop cache. */
const MAX_ACCUMULATORS = 16;
/** Row tiles of a mini-GEMV that is expanded: a few are as good as many, as the inputs stay in a cache. */
const EXPANDED_TILES = 4;
/**
 * Inputs unrolled: a chunk. Unrolling the four of a group of 128 made no kernel faster (median of 106 pairs: 1.00) but those
 * of codes that stay up, whose chains are joined and closed once then (decode from L2: 1.11 times as fast).
 */
const UNROLLED = CHUNK;
const UNROLLED_NARROW = 4 * CHUNK;

/** Every legal blocking of a shape for `tokens` tokens, or those with row tiles of `wanted` rows. */
export function candidates(isa: Isa, shape: ProjectionShape, tokens: number, wanted?: number): Blocking[] {
  const found: Blocking[] = [];
  const mbs = inputBlocks(isa, shape);
  const expands = canExpand(shape);
  const mu = unrolledInputs(shape);
  for (const tile of tilesOf(isa, shape.format)) {
    const tu = tile * isa.lanes;
    if (wanted !== undefined && tu !== wanted) continue;
    if (tokens === 1) {
      const [mb] = mbs as [number];
      found.push({ mb, tb: tu, mu, tu, nu: 1 });
      continue;
    }
    for (const nu of TOKENS) {
      if (nu > tokens || nu * tile > MAX_ACCUMULATORS) continue;
      for (const tb of outputBlocks(shape, tu)) {
        for (const mb of mbs) {
          found.push({ mb, tb, mu, tu, nu });
          if (expands && tb <= EXPANDED_TILES * tu) found.push({ mb, tb, mu, tu, nu, expand: true });
        }
      }
    }
  }
  return found;
}

function unrolledInputs({ format, activations }: ProjectionShape): number {
  const isNarrow = format.kind === "quantized" && format.bits <= 2 && activations.kind === "int8";
  return isNarrow ? UNROLLED_NARROW : UNROLLED;
}

/** Whether there is anything to unpack, to bytes that are multiplied as they are. */
function canExpand({ format, activations }: ProjectionShape): boolean {
  return format.kind === "quantized" && format.bits < 8 && activations.kind === "int8" && !isSigns(format);
}

/** Row vectors a tile of a format may have on this ISA. */
export function tilesOf(isa: Isa, format: Format): number[] {
  const shared = sharedVectors(format, isa);
  const tiles = shared === 1 ? TILES : [shared, 2 * shared];
  return tiles.filter((tile) => ROW_BLOCK % (tile * isa.lanes) === 0);
}

/** Inputs after which every scale, weight's and activation's, starts anew: where a mini-GEMV may end. */
export function inputUnit(shape: ProjectionShape): number {
  const { format, cols, activations } = shape;
  if (format.kind === "float") return cols;
  const group = blockSize(format, cols);
  const block = activations.kind === "f32" || activations.block === "row" ? CHUNK : activations.block;
  return [group, block].reduce(lcm, CHUNK);
}

function inputBlocks({ signs }: Isa, shape: ProjectionShape): number[] {
  if (isSigns(shape.format)) return [Math.min(panelInputs(signs), shape.cols)];
  const unit = inputUnit(shape);
  const parts = INPUTS.map((n) => Math.ceil(n / unit) * unit).filter((mb) => mb < shape.cols);
  return [...new Set([shape.cols, ...parts])];
}

function outputBlocks({ rows }: ProjectionShape, tu: number): number[] {
  return BLOCK_TILES.map((n) => n * tu).filter((tb) => tb === tu || tb < rows + tu);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function lcm(a: number, b: number): number {
  return (a / gcd(a, b)) * b;
}
