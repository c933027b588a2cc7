/** Where packing puts the bytes of a matrix, byte by byte (the layout is defined at `Packing`). */

import { assert } from "../base/assert.ts";
import type { Target } from "../ir/types.ts";
import { topBits } from "./chunks.ts";
import {
  blockLayout,
  CHUNK,
  chunkCount,
  type FloatFormat,
  groupCount,
  groupSize,
  type QuantizedFormat,
  rowBytes,
} from "./formats.ts";
import { type Packing, wordOffset } from "./packing.ts";
import { checkLength } from "./reference-rows.ts";

/** What packing needs to know of a target. */
export type PackingTarget = Pick<Target, "dotByte" | "lanes">;

/**
 * The packed form of `source` (row-major blocks). Padding inputs keep the codes they have in `source`; all bytes of
 * rows past the end are 0. Throws `UsageError` if `source` does not have the matrix's size.
 */
export function packReference(packing: Packing, target: PackingTarget, source: Uint8Array): Uint8Array {
  checkLength("the matrix", source.length, packing.rows * rowBytes(packing.format, packing.cols));
  const packed = new Uint8Array(packing.totalBytes);
  eachByte(packing, target, (to, from, flip) => {
    packed[to] = source[from]! ^ flip;
  });
  return packed;
}

/** The row-major blocks that were packed. Throws `UsageError` if `packed` is not `packing.totalBytes` long. */
export function unpackReference(packing: Packing, target: PackingTarget, packed: Uint8Array): Uint8Array {
  checkLength("the packed matrix", packed.length, packing.totalBytes);
  const source = new Uint8Array(packing.rows * rowBytes(packing.format, packing.cols));
  eachByte(packing, target, (from, to, flip) => {
    source[to] = packed[from]! ^ flip;
  });
  return source;
}

/** Called with the place of a byte in the packed form and in the source, and the bits in which the two differ. */
type ByteVisitor = (packedAt: number, sourceAt: number, flip: number) => void;

/** Packing is a permutation of bytes (and a bias of signed codes): visits every byte of the source once. */
function eachByte(packing: Packing, target: PackingTarget, visit: ByteVisitor): void {
  const { format, rows } = packing;
  assert(target.lanes === packing.lanes, `packing for ${packing.lanes} lanes, not ${target.lanes}`);
  for (let row = 0; row < rows; row++) {
    if (format.kind === "float") eachFloatByte(packing, format, row, visit);
    else eachBlockByte(packing, format, target, row, visit);
  }
}

function eachFloatByte(packing: Packing, format: FloatFormat, row: number, visit: ByteVisitor): void {
  const { cols, tileRows, tileBytes } = packing;
  const tile = Math.floor(row / tileRows) * tileBytes;
  for (let col = 0; col < cols; col++) {
    for (let b = 0; b < format.bytes; b++) {
      const to = tile + (col * tileRows + (row % tileRows)) * format.bytes + b;
      visit(to, (row * cols + col) * format.bytes + b, 0);
    }
  }
}

function eachBlockByte(
  packing: Packing,
  format: QuantizedFormat,
  target: PackingTarget,
  row: number,
  visit: ByteVisitor,
): void {
  const { cols, tileRows } = packing;
  const layout = blockLayout(format, cols);
  const inTile = row % tileRows;
  const zeroBytes = layout.codesAt - layout.zeroAt;
  const chunks = chunkCount(cols);
  const groupChunks = Math.ceil(groupSize(format, cols) / CHUNK);
  for (let g = 0; g < groupCount(format, cols); g++) {
    const record = Math.floor(row / tileRows) * packing.tileBytes + g * packing.recordBytes;
    const block = row * layout.rowBytes + g * layout.blockBytes;
    for (let b = 0; b < 2; b++) visit(record + 2 * inTile + b, block + b, 0);
    for (let b = 0; b < zeroBytes; b++) {
      visit(record + packing.zeroAt + zeroBytes * inTile + b, block + layout.zeroAt + b, 0);
    }
    const inGroup = Math.min(groupChunks, chunks - g * groupChunks);
    for (let c = 0; c < inGroup; c++) {
      const to = record + packing.headerBytes + c * packing.chunkBytes;
      const from = block + layout.codesAt + c * layout.chunkBytes;
      eachChunkByte(packing, format, target, inTile, (packedAt, sourceAt, flip) => {
        visit(to + packedAt, from + sourceAt, flip);
      });
    }
  }
}

/** Visits the codes that row `inTile` of a tile has in one chunk; both places count from the chunk's start. */
function eachChunkByte(
  packing: Packing,
  format: QuantizedFormat,
  target: PackingTarget,
  inTile: number,
  visit: ByteVisitor,
): void {
  const { lanes } = packing;
  const lane = inTile % lanes;
  const vector = Math.floor(inTile / lanes);
  for (let word = 0; word < format.bits; word++) {
    const flip = format.signedCodes ? topBits(format.bits, word) : 0;
    const register = wordOffset(packing, word, vector);
    for (let i = 0; i < 4; i++) visit(register + target.dotByte(lane, i), 4 * word + i, flip);
  }
}
