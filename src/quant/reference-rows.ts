/** What the stored bytes of a matrix mean. */

import { assert } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32 } from "../base/float16.ts";
import { type Block, blockOf, halfAt, readFields, rowBytes } from "./blocks.ts";
import {
  blockSize,
  type FloatFormat,
  type Format,
  groupCount,
  groupSize,
  groupsOfBlock,
  type QuantizedFormat,
  type Scale,
  type Zero,
} from "./formats.ts";

/** A row of a quantized matrix: weight i of group g is scales[g] · (codes[i] − zeros[g]) + (minima?.[g] ?? 0). */
export interface UnpackedRow {
  /** [cols], the values of the codes, unsigned: signed codes have 2^(bits−1) added. */
  readonly codes: Uint8Array;
  /** [groups] */
  readonly scales: Float32Array;
  /** [groups]; 0 where the format has minima. */
  readonly zeros: Uint8Array;
  /** [groups], only for formats with minima. */
  readonly minima: Float32Array | undefined;
}

/** Decodes `row`, one row of `cols` weights as stored. Throws `UsageError` if its length is not `rowBytes`. */
export function unpackRow(format: QuantizedFormat, row: Uint8Array, cols: number): UnpackedRow {
  checkLength("a row", row.length, rowBytes(format, cols));
  const block = blockOf(format, cols);
  const size = blockSize(format, cols);
  const perBlock = groupsOfBlock(format, cols);
  const groups = groupCount(format, cols);
  const { zero, table, signedCodes, bits } = format;
  const hasMinima = zero.kind === "minimum" || zero.kind === "product";
  const codes = new Uint8Array(cols);
  const scales = new Float32Array(groups);
  const zeros = new Uint8Array(groups).fill(zero.kind === "constant" ? zero.value : 0);
  const minima = hasMinima ? new Float32Array(groups) : undefined;
  for (let g = 0; g < groups; g++) {
    const at = Math.floor(g / perBlock) * block.bytes;
    scales[g] = scaleOf(format.scale, block, row, at, g % perBlock);
    const value = block.zero ? readFields(row, at, block.zero(g % perBlock)) : 0;
    if (zero.kind === "code") zeros[g] = value;
    if (minima) {
      const scaled = () => -halfOf(row, at, block.halfZero) * groupValue(zero, value);
      minima[g] = zero.kind === "minimum" ? f16ToF32(value) : scaled();
    }
  }
  const places = Array.from({ length: Math.min(size, cols) }, (_, k) => block.code(k));
  // Two's complement plus 2^(bits−1) is the same bits with the sign bit flipped.
  const flip = signedCodes ? 2 ** (bits - 1) : 0;
  for (let i = 0; i < cols; i++) {
    const at = Math.floor(i / size) * block.bytes;
    const code = readFields(row, at, places[i % size]!) ^ flip;
    codes[i] = table === undefined ? code : table[code]!;
  }
  return { codes, scales, zeros, minima };
}

/** The scale of group `g` of the block at `at`. */
function scaleOf(scale: Scale, block: Block, row: Uint8Array, at: number, g: number): number {
  const code = block.scale ? readFields(row, at, block.scale(g)) : 0;
  switch (scale.kind) {
    case "half":
      return f16ToF32(code);
    case "exponent":
      return exponentValue(code);
    case "minifloat":
      return minifloatValue(code);
    case "product":
      return halfOf(row, at, block.halfScale) * (scale.unit ?? 1) * groupValue(scale, code);
  }
}

function halfOf(row: Uint8Array, at: number, offset = 0): number {
  return f16ToF32(readFields(row, at, halfAt(offset)));
}

/** The integer of a group that is stored as `code`. */
function groupValue(part: Scale | Zero, code: number): number {
  assert(part.kind === "product", "one value a group");
  const { signed, step, offset } = part.codes;
  return (signed ? (code << 24) >> 24 : code) * step - offset;
}

/** E8M0, halved: 2^(e − 128); 0 for 0, and not finite for 255. */
function exponentValue(code: number): number {
  return code === 0 ? 0 : code === 255 ? Number.POSITIVE_INFINITY : 2 ** (code - 128);
}

/** UE4M3, halved: a byte without sign whose largest value, not a number, is taken for 0. */
function minifloatValue(code: number): number {
  const [exponent, mantissa] = [(code >>> 3) & 15, code & 7];
  if (code === 127) return 0;
  return exponent === 0 ? mantissa * 2 ** -10 : (8 + mantissa) * 2 ** (exponent - 11);
}

/**
 * Weights [rows, cols] of a row-major matrix in its file's form. s · (q − z) and + m each round to f32, as in ggml's
 * dequantize_row_*. Throws `UsageError` if `bytes` does not have the matrix's size.
 */
export function dequantizeRows(format: Format, bytes: Uint8Array, rows: number, cols: number): Float32Array {
  const perRow = rowBytes(format, cols);
  checkLength("the matrix", bytes.length, rows * perRow);
  const weights = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const row = bytes.subarray(r * perRow, (r + 1) * perRow);
    const into = weights.subarray(r * cols, (r + 1) * cols);
    if (format.kind === "float") decodeFloats(format, row, into);
    else dequantizeRow(format, row, into);
  }
  return weights;
}

function dequantizeRow(format: QuantizedFormat, row: Uint8Array, into: Float32Array): void {
  const { codes, scales, zeros, minima } = unpackRow(format, row, into.length);
  const group = groupSize(format, into.length);
  for (let i = 0; i < into.length; i++) {
    const g = Math.floor(i / group);
    const product = Math.fround(scales[g]! * (codes[i]! - zeros[g]!));
    into[i] = minima ? product + minima[g]! : product;
  }
}

function decodeFloats(format: FloatFormat, row: Uint8Array, into: Float32Array): void {
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
  for (let i = 0; i < into.length; i++) {
    switch (format.element) {
      case "f32":
        into[i] = view.getFloat32(4 * i, true);
        break;
      case "f16":
        into[i] = f16ToF32(view.getUint16(2 * i, true));
        break;
      case "bf16":
        into[i] = bf16ToF32(view.getUint16(2 * i, true));
        break;
    }
  }
}

/** Throws `UsageError` unless `what` has as many bytes as it must. */
export function checkLength(what: string, length: number, wanted: number): void {
  if (length !== wanted) throw new UsageError(`${what} must have ${wanted} bytes, not ${length}`);
}
