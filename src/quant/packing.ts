import { assert } from "../base/assert.ts";
import type { Target } from "../ir/types.ts";
import { CHUNK, chunkCount, type Format, groupCount, groupSize } from "./formats.ts";

/**
 * The packed form of a weight matrix: exactly the order in which a projection kernel reads it.
 *
 * Rows sit in lanes. `tile` row vectors of L rows make a row tile; a tile holds, group after group along the inputs,
 * one record: the scales of its rows (f16), their minima (f16) or zero points (u8), then for every chunk of 32 inputs,
 * every 4-byte word of a chunk and every row vector one register of 4L bytes: the word of row `lane` in
 * the four bytes that `dot` feeds to that lane. Float formats have no header: per input, per row vector, L elements.
 * Rows past the end are zero bytes; inputs past the end keep the source's padding codes and meet activation 0.
 */
export interface Packing {
  readonly format: Format;
  /** As it lies in memory; else expanded for some steps of a kernel (`expandedPacking`). */
  readonly stored: boolean;
  readonly rows: number;
  readonly cols: number;
  /** Bits in which a code is stored: the format's, or 8 where expanded; 0 where there are no codes. */
  readonly codeBits: number;
  /** Row vectors per row tile (the plan's `tu` in registers). */
  readonly tile: number;
  readonly lanes: number;
  /** Row tiles. */
  readonly tiles: number;
  /** Rows of a tile. */
  readonly tileRows: number;
  /** Bytes of scales and zeros at the head of a record. */
  readonly headerBytes: number;
  /** Offset of the minima or zeros in a header. */
  readonly zeroAt: number;
  /** Bytes of the codes of one chunk of a tile. */
  readonly chunkBytes: number;
  /** Bytes of the record of a full group. */
  readonly recordBytes: number;
  readonly tileBytes: number;
  readonly totalBytes: number;
}

/** Packed layout of a matrix of `rows` × `cols` for a target, `tile` row vectors to a tile. */
export function packing(
  format: Format,
  rows: number,
  cols: number,
  tile: number,
  target: Pick<Target, "lanes">,
): Packing {
  const { lanes } = target;
  const tileRows = tile * lanes;
  const tiles = Math.ceil(rows / tileRows);
  const base = { format, stored: true, rows, cols, tile, lanes, tiles, tileRows };
  if (format.kind === "float") {
    const tileBytes = cols * tileRows * format.bytes;
    return {
      ...base,
      codeBits: 0,
      headerBytes: 0,
      zeroAt: 0,
      chunkBytes: CHUNK * tileRows * format.bytes,
      recordBytes: tileBytes,
      tileBytes,
      totalBytes: tiles * tileBytes,
    };
  }
  const zeroBytes = format.zero.kind === "minimum" ? 2 : format.zero.kind === "code" ? 1 : 0;
  const headerBytes = tileRows * (2 + zeroBytes);
  const chunkBytes = (CHUNK / 8) * format.bits * tileRows;
  const groupChunks = Math.ceil(groupSize(format, cols) / CHUNK);
  const tileBytes = groupCount(format, cols) * headerBytes + chunkCount(cols) * chunkBytes;
  return {
    ...base,
    codeBits: format.bits,
    headerBytes,
    zeroAt: 2 * tileRows,
    chunkBytes,
    recordBytes: headerBytes + groupChunks * chunkBytes,
    tileBytes,
    totalBytes: tiles * tileBytes,
  };
}

/**
 * A packed matrix of quantized weights with its first `cols` inputs expanded: every code a byte, scales and minima or
 * zero points f32. What kernels make of a block that they read many times.
 */
export function expandedPacking(pack: Packing, cols: number): Packing {
  const { format, tileRows, tiles } = pack;
  assert(format.kind === "quantized", "floats have no codes");
  const headerBytes = 4 * tileRows * (format.zero.kind === "constant" ? 1 : 2);
  const chunkBytes = CHUNK * tileRows;
  const recordBytes = headerBytes + Math.ceil(groupSize(format, cols) / CHUNK) * chunkBytes;
  const tileBytes = groupCount(format, cols) * headerBytes + chunkCount(cols) * chunkBytes;
  return {
    ...pack,
    stored: false,
    codeBits: 8,
    cols,
    headerBytes,
    zeroAt: 4 * tileRows,
    chunkBytes,
    recordBytes,
    tileBytes,
    totalBytes: tiles * tileBytes,
  };
}

/** Offset within the codes of a chunk of the register with a word of row vector `vector`. */
export function wordOffset({ tile, lanes }: Packing, word: number, vector: number): number {
  return (word * tile + vector) * 4 * lanes;
}
