/** Where packing puts the values of a matrix, bit by bit (the layout is defined at `Packing`). */

import { assert } from "../base/assert.ts";
import type { Target } from "../ir/types.ts";
import { type BitField, blockOf, halfAt, readFields, rowBytes, writeFields } from "./blocks.ts";
import { quads } from "./chunks.ts";
import {
  blockCount,
  blockSize,
  CHUNK,
  chunkCount,
  type FloatFormat,
  groupsOfBlock,
  packedOffset,
  type QuantizedFormat,
  type Scale,
  type Zero,
} from "./formats.ts";
import { groupFields, headerByte, type Packing, recordOffset, wordOffset } from "./packing.ts";
import { checkLength } from "./reference-rows.ts";
import { signPlace } from "./sign-words.ts";

/** What packing needs to know of a target. */
export type PackingTarget = Pick<Target, "dotByte" | "lanes" | "signs">;

/**
 * The packed form of `source` (rows as stored). Padding inputs keep the codes they have in `source`; all bytes of rows past
 * the end are 0. Throws `UsageError` if `source` does not have the matrix's size.
 */
export function packReference(packing: Packing, target: PackingTarget, source: Uint8Array): Uint8Array {
  checkLength("the matrix", source.length, packing.rows * rowBytes(packing.format, packing.cols));
  const packed = new Uint8Array(packing.totalBytes);
  eachValue(packing, target, (to, from, change) => {
    const value = readFields(source, from.at, from.fields);
    writeFields(packed, to.at, to.fields, change.pack(value));
  });
  return packed;
}

/** The rows that were packed. Throws `UsageError` if `packed` is not `packing.totalBytes` long. */
export function unpackReference(packing: Packing, target: PackingTarget, packed: Uint8Array): Uint8Array {
  checkLength("the packed matrix", packed.length, packing.totalBytes);
  const source = new Uint8Array(packing.rows * rowBytes(packing.format, packing.cols));
  eachValue(packing, target, (from, to, change) => {
    const value = readFields(packed, from.at, from.fields);
    writeFields(source, to.at, to.fields, change.unpack(value));
  });
  return source;
}

/** Bits of a matrix: fields that count from byte `at`. */
interface Place {
  readonly at: number;
  readonly fields: readonly BitField[];
}

/** How a value changes on its way. */
interface Change {
  readonly pack: (value: number) => number;
  readonly unpack: (value: number) => number;
}

/** Called with the places of a value in the packed form and in the source, and how the two differ. */
type Visitor = (packed: Place, source: Place, change: Change) => void;

const same: Change = { pack: (value) => value, unpack: (value) => value };

/** A byte without its sign; what is not a number (127) becomes 0, so that 127 is the number that 255 is. */
const minifloat: Change = {
  pack: (code) => (code === 127 ? 0 : code & 127),
  unpack: (code) => (code === 127 ? 255 : code),
};

/** An integer of a group, less what packing subtracts; only its own bits are written. */
const shiftedBy = (offset: number): Change => ({
  pack: (code) => code - offset,
  unpack: (code) => code + offset,
});

/** Visits every value of the source once. */
function eachValue(packing: Packing, target: PackingTarget, visit: Visitor): void {
  const { format, rows } = packing;
  assert(target.lanes === packing.lanes, `packing for ${packing.lanes} lanes, not ${target.lanes}`);
  if (format.kind === "float") {
    for (let row = 0; row < rows; row++) eachFloat(packing, format, row, visit);
    return;
  }
  const { code } = blockOf(format, packing.cols);
  const stored = Array.from({ length: chunkCount(blockSize(format, packing.cols)) * CHUNK }, (_, k) =>
    code(k),
  );
  for (let row = 0; row < rows; row++) eachOfBlocks(packing, format, target, row, stored, visit);
}

function eachFloat(packing: Packing, format: FloatFormat, row: number, visit: Visitor): void {
  const { cols, tileRows, tileBytes } = packing;
  const tile = Math.floor(row / tileRows) * tileBytes;
  const fields = [halfAt(0), halfAt(2)].slice(0, format.bytes / 2);
  for (let col = 0; col < cols; col++) {
    const to = tile + (col * tileRows + (row % tileRows)) * format.bytes;
    const from = (row * cols + col) * format.bytes;
    for (const part of fields) visit({ at: to, fields: part }, { at: from, fields: part }, same);
  }
}

function eachOfBlocks(
  packing: Packing,
  format: QuantizedFormat,
  target: PackingTarget,
  row: number,
  stored: readonly (readonly BitField[])[],
  visit: Visitor,
): void {
  const { cols, tileRows, headerBytes } = packing;
  const block = blockOf(format, cols);
  const inTile = row % tileRows;
  const size = blockSize(format, cols);
  const flip = (value: number) => (format.signedCodes ? value ^ (2 ** (format.bits - 1)) : value);
  const flipped = { pack: flip, unpack: flip };
  const codes = packedCodes(packing, target, inTile);
  // The padding of the last chunk is stored too.
  const length = chunkCount(cols) * CHUNK;
  for (let b = 0; b < blockCount(format, cols); b++) {
    const record = recordOffset(packing, Math.floor(row / tileRows), b);
    const source = row * rowBytes(format, cols) + b * block.bytes;
    eachOfHeader(packing, format, inTile, (to, from, change) => {
      visit({ ...to, at: to.at + record }, { ...from, at: from.at + source }, change);
    });
    for (let k = 0; k < Math.min(stored.length, length - b * size); k++) {
      const chunk = Math.floor(k / CHUNK) * packing.chunkBytes;
      const to = { at: record + headerBytes + chunk, fields: codes[k % CHUNK]! };
      visit(to, { at: source, fields: stored[k]! }, flipped);
    }
  }
}

/** The fields of the 32 codes that row `inTile` of a tile has in one chunk. */
function packedCodes(packing: Packing, target: PackingTarget, inTile: number): BitField[][] {
  const { lanes, codeBits, signs } = packing;
  const vector = Math.floor(inTile / lanes);
  const byteOf = (word: number, i: number) =>
    wordOffset(packing, word, vector) + target.dotByte(inTile % lanes, i);
  if (signs) {
    return Array.from({ length: CHUNK }, (_, k) => {
      const { byte, bit } = signPlace(signs, vector, k);
      return [{ byte: byteOf(Math.floor(k / signs.bits), byte), shift: bit, bits: 1 }];
    });
  }
  return quads(codeBits).flatMap((quad) =>
    [0, 1, 2, 3].map((i): BitField[] =>
      quad.kind === "together"
        ? [{ byte: byteOf(quad.word, i), shift: quad.shift, bits: codeBits }]
        : Array.from({ length: codeBits }, (_, j) => ({
            byte: byteOf(j, i),
            shift: quad.slot + quad.spare,
            bits: 1,
          })),
    ),
  );
}

/** What row `inTile` of a tile has in the header of a record. */
function eachOfHeader(packing: Packing, format: QuantizedFormat, inTile: number, visit: Visitor): void {
  const { cols, tileRows, halfZeroAt, scaleAt, zeroAt } = packing;
  const block = blockOf(format, cols);
  const groups = groupsOfBlock(format, cols);
  const sharedHalf = (from: number | undefined, to: number) => {
    if (from !== undefined)
      visit({ at: to + 2 * inTile, fields: halfAt(0) }, { at: from, fields: halfAt(0) }, same);
  };
  sharedHalf(block.halfScale, 0);
  sharedHalf(block.halfZero, halfZeroAt);
  const ofGroup = (part: Scale | Zero, at: number, fields: Place["fields"] | undefined, g: number) => {
    if (fields === undefined) return;
    const change =
      part.kind === "minifloat"
        ? minifloat
        : part.kind === "product"
          ? shiftedBy(packedOffset(part.codes))
          : same;
    visit(packedOfGroup(part, at, groups, g), { at: 0, fields }, change);
  };
  const packedOfGroup = (part: Scale | Zero, at: number, count: number, g: number): Place => {
    if (part.kind === "half" || part.kind === "minimum")
      return { at: at + 2 * (g * tileRows + inTile), fields: halfAt(0) };
    const fields = groupFields(packing, part, count, g).map((f) => ({
      ...f,
      byte: headerByte(packing, f.byte, inTile),
    }));
    return { at, fields };
  };
  for (let g = 0; g < groups; g++) {
    ofGroup(format.scale, scaleAt, block.scale?.(g), g);
    ofGroup(format.zero, zeroAt, block.zero?.(g), g);
  }
}
