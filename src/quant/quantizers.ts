/** Weights → formats, round to nearest: ggml's own arithmetic for GGUF's formats, plain scaling for the family. */

import { at } from "../base/assert.ts";
import { UnsupportedError, UsageError } from "../base/errors.ts";
import { f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import { blockOf, rowBytes, writeFields } from "./blocks.ts";
import { codePlaces, writeCodes } from "./code-places.ts";
import {
  CHUNK,
  chunkCount,
  type FloatFormat,
  type Format,
  groupSize,
  groupsOfBlock,
  type QuantizedFormat,
} from "./formats.ts";

/** Above every finite magnitude of an f16. */
const F16_INFINITY = 0x7c00;

/** One group as it will be stored, reused from group to group. */
interface Group {
  /** Stored codes, padded to whole chunks. */
  readonly codes: Uint8Array;
  /** f16 bits. */
  scale: number;
  /** f16 bits of the minimum, or the integer zero point. */
  zero: number;
}

/** Quantizes weights[start … end) into `group`. */
type GroupQuantizer = (weights: Float32Array, start: number, end: number, group: Group) => void;

/**
 * Row-major blocks of `weights` [rows, cols]: Q4_0, Q4_1 and Q8_0 bit for bit as ggml's quantize_row_*_ref, floats
 * rounded to nearest even, the family as described at its quantizers. Padding inputs are stored as 0. Throws
 * `UsageError` for a wrong number of weights, and naming the row for a weight that is not finite or too large for the
 * format's scale (an f16) or element.
 */
export function quantizeRows(format: Format, weights: Float32Array, rows: number, cols: number): Uint8Array {
  if (weights.length !== rows * cols) {
    throw new UsageError(`${rows} × ${cols} weights expected, ${weights.length} given`);
  }
  requireFinite(weights, rows, cols);
  const bytes = new Uint8Array(rows * rowBytes(format, cols));
  if (format.kind === "float") encodeFloats(format, weights, cols, bytes);
  else encodeGroups(format, weights, rows, cols, bytes);
  return bytes;
}

function requireFinite(weights: Float32Array, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    let poison = 0; // NaN as soon as a weight is infinite or NaN
    for (let i = r * cols; i < (r + 1) * cols; i++) poison += weights[i]! * 0;
    if (poison === 0) continue;
    const col = weights.subarray(r * cols, (r + 1) * cols).findIndex((w) => !Number.isFinite(w));
    throw new UsageError(`row ${r}: weight ${col} is ${at(weights, r * cols + col)}`);
  }
}

function tooLarge(format: Format, row: number): UsageError {
  return new UsageError(`row ${row}: weights too large for ${format.name}`);
}

function encodeFloats(format: FloatFormat, weights: Float32Array, cols: number, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  if (format.element === "f32") {
    for (let i = 0; i < weights.length; i++) view.setFloat32(4 * i, weights[i]!, true);
    return;
  }
  const [convert, infinity] = format.element === "f16" ? [f32ToF16, F16_INFINITY] : [f32ToBf16, 0x7f80];
  for (let i = 0; i < weights.length; i++) {
    const bits = convert(weights[i]!);
    if ((bits & 0x7fff) >= infinity) throw tooLarge(format, Math.floor(i / cols));
    view.setUint16(2 * i, bits, true);
  }
}

function encodeGroups(
  format: QuantizedFormat,
  weights: Float32Array,
  rows: number,
  cols: number,
  bytes: Uint8Array,
): void {
  const quantize = quantizerOf(format);
  if (quantize === undefined) throw new UnsupportedError(`weights cannot be quantized to ${format.name} yet`);
  const size = groupSize(format, cols);
  const stride = rowBytes(format, cols);
  const group: Group = { codes: new Uint8Array(chunkCount(size) * CHUNK), scale: 0, zero: 0 };
  const write = groupWriter(format, cols, bytes);
  for (let r = 0; r < rows; r++) {
    for (let start = 0; start < cols; start += size) {
      const length = Math.min(cols - start, size);
      if (length < size || size % CHUNK > 0) group.codes.fill(0);
      quantize(weights, r * cols + start, r * cols + start + length, group);
      const minimum = format.zero.kind === "minimum" ? group.zero & 0x7fff : 0;
      if ((group.scale & 0x7fff) >= F16_INFINITY || minimum >= F16_INFINITY) throw tooLarge(format, r);
      write(group, length, r * stride, start / size);
    }
  }
}

/** Stores a group of so many weights, the n-th of a row that starts at byte `row`. */
type GroupWriter = (group: Group, length: number, row: number, n: number) => void;

/** Groups have all that they need themselves here: no format whose groups share anything has a quantizer. */
function groupWriter(format: QuantizedFormat, cols: number, bytes: Uint8Array): GroupWriter {
  const block = blockOf(format, cols);
  const size = groupSize(format, cols);
  const perBlock = groupsOfBlock(format, cols);
  const groups = Array.from({ length: perBlock }, (_, g) => ({
    scale: block.scale?.(g) ?? [],
    zero: block.zero?.(g) ?? [],
    places: codePlaces(block, g * size, size),
  }));
  return (group, length, row, n) => {
    const at = row + Math.floor(n / perBlock) * block.bytes;
    const { scale, zero, places } = groups[n % perBlock]!;
    writeFields(bytes, at, scale, group.scale);
    writeFields(bytes, at, zero, group.zero);
    writeCodes(group.codes, 0, length, 0, places, bytes, at);
  };
}

/** Whether weights can be quantized to a format here. */
export function canQuantize(format: Format): boolean {
  return format.kind === "float" || quantizerOf(format) !== undefined;
}

function quantizerOf(format: QuantizedFormat): GroupQuantizer | undefined {
  const { bits, scale, table, zero } = format;
  if (scale.kind !== "half" || table !== undefined || bits < 2) return undefined;
  // As data Q4_0 is 4bit-g32-sym; only ggml's way to choose its scale differs.
  if (format.name === "Q4_0" || format.name === "Q5_0") return extremeQuantizer(2 ** (bits - 1));
  switch (zero.kind) {
    case "minimum":
      return minimumQuantizer(2 ** bits - 1);
    case "code":
      return asymmetricQuantizer(2 ** bits - 1);
    case "constant":
      if (format.signedCodes) return signedQuantizer(2 ** (bits - 1) - 1);
      return zero.value === 2 ** (bits - 1) ? symmetricQuantizer(zero.value) : undefined;
    case "product":
      return undefined;
  }
}

/** 1/scale in f32; 0 for scale 0, and where 1/scale overflows (the scale is then 0 as an f16). */
function inverseOf(scale: number): number {
  const inverse = Math.fround(1 / scale);
  return Number.isFinite(inverse) ? inverse : 0;
}

/** The first of the weights with the largest magnitude. */
function extremeOf(weights: Float32Array, start: number, end: number): number {
  let extreme = 0;
  let magnitude = 0;
  for (let i = start; i < end; i++) {
    const absolute = Math.abs(weights[i]!);
    if (absolute > magnitude) {
      magnitude = absolute;
      extreme = weights[i]!;
    }
  }
  return extreme;
}

/** ggml's Q4_0 and Q5_0: the weight of largest magnitude becomes code 0, −`zero` times a scale of the opposite sign. */
function extremeQuantizer(zero: number): GroupQuantizer {
  return (weights, start, end, group) => {
    const scale = Math.fround(extremeOf(weights, start, end) / -zero);
    const inverse = inverseOf(scale);
    group.scale = f32ToF16(scale);
    for (let i = start; i < end; i++) {
      const code = Math.fround(Math.fround(weights[i]! * inverse) + zero + 0.5) | 0;
      group.codes[i - start] = Math.min(code, 2 * zero - 1);
    }
  };
}

/** ggml's Q4_1 (any width): the least weight is the minimum, the greatest gets the largest code `top`. */
function minimumQuantizer(top: number): GroupQuantizer {
  return (weights, start, end, group) => {
    let least = weights[start]!;
    let greatest = least;
    for (let i = start + 1; i < end; i++) {
      const weight = weights[i]!;
      if (weight < least) least = weight;
      if (weight > greatest) greatest = weight;
    }
    const scale = Math.fround(Math.fround(greatest - least) / top);
    const inverse = inverseOf(scale);
    group.scale = f32ToF16(scale);
    group.zero = f32ToF16(least);
    for (let i = start; i < end; i++) {
      const steps = Math.fround(Math.fround(weights[i]! - least) * inverse);
      const code = Math.fround(steps + 0.5) | 0;
      group.codes[i - start] = Math.min(code, top);
    }
  };
}

/** ggml's Q8_0 (any width): codes −top … top in two's complement, halves rounded away from 0. */
function signedQuantizer(top: number): GroupQuantizer {
  const mask = 2 * top + 1;
  return (weights, start, end, group) => {
    const scale = Math.fround(Math.abs(extremeOf(weights, start, end)) / top);
    const inverse = inverseOf(scale);
    group.scale = f32ToF16(scale);
    for (let i = start; i < end; i++) {
      const steps = Math.fround(weights[i]! * inverse);
      // Exact in f64, so the truncation is roundf's.
      group.codes[i - start] = (steps + (steps < 0 ? -0.5 : 0.5)) & mask;
    }
  };
}

/**
 * Symmetric family: w = s · (q − zero), q of 0 … 2·zero − 1. Two scales are tried, rounded to f16, and the one with the
 * smaller squared error taken (the first if equal): the weight of largest magnitude at −zero steps (every code is
 * used, s may be negative), or at ±(zero − 1) steps (no weight is clipped, code 0 is unused).
 */
function symmetricQuantizer(zero: number): GroupQuantizer {
  return (weights, start, end, group) => {
    const extreme = extremeOf(weights, start, end);
    const wide = f32ToF16(-extreme / zero);
    const even = f32ToF16(Math.abs(extreme) / (zero - 1));
    const wideError = symmetricError(weights, start, end, f16ToF32(wide), zero);
    const evenError = symmetricError(weights, start, end, f16ToF32(even), zero);
    group.scale = extreme === 0 ? 0 : evenError < wideError ? even : wide;
    const scale = f16ToF32(group.scale);
    for (let i = start; i < end; i++) {
      group.codes[i - start] = nearestCode(weights[i]!, scale, zero, 2 * zero - 1);
    }
  };
}

/** Σ (w − s · (q − zero))² with the nearest codes q. */
function symmetricError(
  weights: Float32Array,
  start: number,
  end: number,
  scale: number,
  zero: number,
): number {
  let error = 0;
  for (let i = start; i < end; i++) {
    const weight = weights[i]!;
    const difference = weight - scale * (nearestCode(weight, scale, zero, 2 * zero - 1) - zero);
    error += difference * difference;
  }
  return error;
}

/**
 * Asymmetric family: w = s · (q − z), q and z of 0 … top. The range is that of the weights and 0, so that 0 has a code
 * (the integer zero point z) and is exact.
 */
function asymmetricQuantizer(top: number): GroupQuantizer {
  return (weights, start, end, group) => {
    let least = 0;
    let greatest = 0;
    for (let i = start; i < end; i++) {
      const weight = weights[i]!;
      if (weight < least) least = weight;
      if (weight > greatest) greatest = weight;
    }
    group.scale = f32ToF16((greatest - least) / top);
    const scale = f16ToF32(group.scale);
    group.zero = nearestCode(-least, scale, 0, top);
    for (let i = start; i < end; i++) {
      group.codes[i - start] = nearestCode(weights[i]!, scale, group.zero, top);
    }
  };
}

/** The code of 0 … top whose weight is nearest (of two, the larger code); the zero point for scale 0. */
function nearestCode(weight: number, scale: number, zero: number, top: number): number {
  if (scale === 0) return zero;
  return Math.max(0, Math.min(top, Math.floor(weight / scale + 0.5) + zero));
}
