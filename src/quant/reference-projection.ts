/** What activation quantization and a projection compute. */

import { UsageError } from "../base/errors.ts";
import { rowBytes } from "./blocks.ts";
import { CHUNK, chunkCount, type Format, groupSize, type QuantizedFormat } from "./formats.ts";
import { checkLength, dequantizeRows, unpackRow } from "./reference-rows.ts";

/** The largest activation code; −128 is never used. */
const ACTIVATION_CODES = 127;
const F32_MAX = (2 - 2 ** -23) * 2 ** 127;

/** Tokens of activations as int8: input i of a token in block b is about scales[b] · codes[i]. */
export interface QuantizedActivations {
  /** [tokens, chunks · 32], −127 … 127; inputs past `cols` are 0. */
  readonly codes: Int8Array;
  /** [tokens, blocks] */
  readonly scales: Float32Array;
  /** [tokens, chunks]: the sum of each chunk's codes. */
  readonly sums: Int32Array;
}

/**
 * Quantizes `x` [tokens, cols] (finite) in blocks of `block` inputs, the last of a token possibly shorter:
 * scale = absmax/127, code = the even-rounded x · (127/absmax), each operation rounded to f32. Where 127/absmax
 * overflows (absmax < 3.73e-37), the largest f32 stands for it, so that no product is 0 · ∞. Throws `UsageError` for a
 * `block` that is no multiple of 32 (unless it spans the row) and for part of a token.
 */
export function quantizeActivations(
  x: Float32Array,
  cols: number,
  block: number | "row",
): QuantizedActivations {
  const size = blockSize(cols, block);
  const tokens = tokenCount(x, cols);
  const chunks = chunkCount(cols);
  const blocks = Math.ceil(cols / size);
  const codes = new Int8Array(tokens * chunks * CHUNK);
  const scales = new Float32Array(tokens * blocks);
  const sums = new Int32Array(tokens * chunks);
  for (let t = 0; t < tokens; t++) {
    for (let b = 0; b < blocks; b++) {
      const end = Math.min(cols, (b + 1) * size);
      let absmax = 0;
      for (let i = b * size; i < end; i++) absmax = Math.max(absmax, Math.abs(x[t * cols + i]!));
      const inverse = absmax === 0 ? 0 : Math.fround(Math.min(127 / absmax, F32_MAX));
      scales[t * blocks + b] = absmax / 127;
      for (let i = b * size; i < end; i++) {
        const code = roundHalfEven(Math.fround(x[t * cols + i]! * inverse));
        const clamped = Math.max(-ACTIVATION_CODES, Math.min(ACTIVATION_CODES, code));
        codes[t * chunks * CHUNK + i] = clamped;
        sums[t * chunks + Math.floor(i / CHUNK)]! += clamped;
      }
    }
  }
  return { codes, scales, sums };
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const above = value - floor;
  return above > 0.5 || (above === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

function blockSize(cols: number, block: number | "row"): number {
  const size = block === "row" ? cols : block;
  if (Number.isInteger(size) && size > 0 && (size % CHUNK === 0 || size >= cols)) return Math.min(size, cols);
  throw new UsageError(`activation block ${block} is neither a multiple of ${CHUNK} nor the row (${cols})`);
}

function tokenCount(x: Float32Array, cols: number): number {
  if (x.length % cols === 0) return x.length / cols;
  throw new UsageError(`${x.length} activations are not whole tokens of ${cols}`);
}

/** How a projection takes its activations: as they are, or quantized to int8 in blocks. */
export type ReferenceActivations =
  | { readonly kind: "f32" }
  | { readonly kind: "int8"; readonly block: number | "row" };

export interface ReferenceProjection {
  /** [tokens, rows], accumulated in f64. */
  readonly result: Float64Array;
  /**
   * [tokens, rows, segments] with int8 activations: the exact Σ (unsigned code) · (activation code) of each segment,
   * zero points not subtracted. Undefined with f32 activations.
   */
  readonly segmentSums: Int32Array | undefined;
}

/**
 * Inputs over which both a group's scale and an activation block's scale are constant: the smaller of the two (the
 * last segment of a row may be shorter). Throws `UsageError` unless one divides the other or spans the row.
 */
export function segmentSize(format: QuantizedFormat, cols: number, block: number | "row"): number {
  const group = Math.min(groupSize(format, cols), cols);
  const size = blockSize(cols, block);
  const [small, large] = group < size ? [group, size] : [size, group];
  if (large === cols || large % small === 0) return small;
  throw new UsageError(
    `activation block ${block} does not fit groups of ${group}: neither divides the other`,
  );
}

/**
 * The product of a matrix `source` (row-major blocks, [rows, cols]) and activations `x` [tokens, cols].
 * With s, z, m of the group and a of the activation block, int8 activations sum s·a·(Σ q·x − z·Σ x) + m·a·Σ x over the
 * segments. Throws `UsageError` for sizes that do not match, float weights with int8 activations, and a segment sum
 * that an i32 accumulator could not hold.
 */
export function projectReference(
  format: Format,
  source: Uint8Array,
  rows: number,
  cols: number,
  x: Float32Array,
  activations: ReferenceActivations,
): ReferenceProjection {
  checkLength("the matrix", source.length, rows * rowBytes(format, cols));
  if (activations.kind === "f32") {
    return { result: projectFloats(format, source, rows, cols, x), segmentSums: undefined };
  }
  if (format.kind === "float") throw new UsageError(`${format.name} weights take f32 activations`);
  return projectCodes(format, source, rows, cols, x, activations.block);
}

function projectFloats(
  format: Format,
  source: Uint8Array,
  rows: number,
  cols: number,
  x: Float32Array,
): Float64Array {
  const tokens = tokenCount(x, cols);
  const weights = dequantizeRows(format, source, rows, cols);
  const result = new Float64Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = 0; i < cols; i++) sum += weights[r * cols + i]! * x[t * cols + i]!;
      result[t * rows + r] = sum;
    }
  }
  return result;
}

function projectCodes(
  format: QuantizedFormat,
  source: Uint8Array,
  rows: number,
  cols: number,
  x: Float32Array,
  block: number | "row",
): ReferenceProjection {
  const segment = segmentSize(format, cols, block);
  const segments = Math.ceil(cols / segment);
  const perRow = rowBytes(format, cols);
  const quantized = quantizeActivations(x, cols, block);
  const tokens = tokenCount(x, cols);
  const padded = chunkCount(cols) * CHUNK;
  const size = blockSize(cols, block);
  const blocks = Math.ceil(cols / size);
  const group = groupSize(format, cols);
  const result = new Float64Array(tokens * rows);
  const segmentSums = new Int32Array(tokens * rows * segments);
  for (let r = 0; r < rows; r++) {
    const row = unpackRow(format, source.subarray(r * perRow, (r + 1) * perRow), cols);
    for (let t = 0; t < tokens; t++) {
      const codes = quantized.codes.subarray(t * padded, t * padded + cols);
      let total = 0;
      for (let s = 0; s < segments; s++) {
        const first = s * segment;
        const { dot, sum } = segmentDot(row.codes, codes, first, Math.min(cols, first + segment));
        const g = Math.floor(first / group);
        const scale = quantized.scales[t * blocks + Math.floor(first / size)]!;
        const minimum = row.minima?.[g] ?? 0;
        total += row.scales[g]! * scale * (dot - row.zeros[g]! * sum) + minimum * scale * sum;
        segmentSums[(t * rows + r) * segments + s] = dot;
      }
      result[t * rows + r] = total;
    }
  }
  return { result, segmentSums };
}

/** Σ q·x and Σ x of the inputs from `first` to before `end`. */
function segmentDot(
  weights: Uint8Array,
  activations: Int8Array,
  first: number,
  end: number,
): { dot: number; sum: number } {
  let dot = 0;
  let sum = 0;
  for (let i = first; i < end; i++) {
    dot += weights[i]! * activations[i]!;
    sum += activations[i]!;
  }
  if (dot !== (dot | 0)) throw new UsageError(`the sum ${dot} of inputs ${first} to ${end} overflows an i32`);
  return { dot, sum };
}
