/** What the stored bytes of a matrix mean. */

import { UsageError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32 } from "../base/float16.ts";
import { unpackChunkInto } from "./chunks.ts";
import {
  blockLayout,
  CHUNK,
  chunkCount,
  type FloatFormat,
  type Format,
  groupCount,
  groupSize,
  type QuantizedFormat,
  rowBytes,
} from "./formats.ts";

/** A row of a quantized matrix: weight i of group g is scales[g] · (codes[i] − zeros[g]) + (minima?.[g] ?? 0). */
export interface UnpackedRow {
  /** [cols], unsigned: signed codes have 2^(bits−1) added. */
  readonly codes: Uint8Array;
  /** [groups] */
  readonly scales: Float32Array;
  /** [groups]; 0 where the format has minima. */
  readonly zeros: Uint8Array;
  /** [groups], only for formats with minima. */
  readonly minima: Float32Array | undefined;
}

/** Decodes `row`, one row of `cols` weights in row-major blocks. Throws `UsageError` if its length is not `rowBytes`. */
export function unpackRow(format: QuantizedFormat, row: Uint8Array, cols: number): UnpackedRow {
  checkLength("a row", row.length, rowBytes(format, cols));
  const layout = blockLayout(format, cols);
  const groups = groupCount(format, cols);
  const chunks = chunkCount(cols);
  const groupChunks = Math.ceil(groupSize(format, cols) / CHUNK);
  const { zero } = format;
  const codes = new Uint8Array(chunks * CHUNK);
  const scales = new Float32Array(groups);
  const zeros = new Uint8Array(groups).fill(zero.kind === "constant" ? zero.value : 0);
  const minima = zero.kind === "minimum" ? new Float32Array(groups) : undefined;
  for (let g = 0; g < groups; g++) {
    const block = g * layout.blockBytes;
    scales[g] = f16ToF32(u16(row, block));
    if (zero.kind === "code") zeros[g] = row[block + layout.zeroAt]!;
    if (minima) minima[g] = f16ToF32(u16(row, block + layout.zeroAt));
    const inGroup = Math.min(groupChunks, chunks - g * groupChunks);
    for (let c = 0; c < inGroup; c++) {
      const at = block + layout.codesAt + c * layout.chunkBytes;
      unpackChunkInto(row, at, format.bits, codes, (g * groupChunks + c) * CHUNK);
    }
  }
  // Two's complement plus 2^(bits−1) is the same bits with the sign bit flipped.
  if (format.signedCodes) for (let i = 0; i < codes.length; i++) codes[i]! ^= 2 ** (format.bits - 1);
  return { codes: codes.subarray(0, cols), scales, zeros, minima };
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

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}
