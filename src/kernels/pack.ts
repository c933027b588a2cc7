import { assert, at } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { type BitField, type Block, blockOf, rowBytes } from "../quant/blocks.ts";
import { chunkPeriod, type Move } from "../quant/chunk-period.ts";
import { topBits } from "../quant/chunks.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  groupsOfBlock,
  packedOffset,
  type QuantizedFormat,
  type Scale,
  type Zero,
} from "../quant/formats.ts";
import { groupFields, type Packing, sharedVectors, wordOffset } from "../quant/packing.ts";
import {
  type CodeSource,
  type Fetch,
  fetchOnce,
  fieldsValue,
  packedWords,
  type SourceField,
} from "./pack-codes.ts";
import { recordsFrom, recordsOf, tilesParameter } from "./records.ts";
import { forEachItem, shifted } from "./work.ts";

/** Name of the generated function; matrices whose rows differ in the number of whole blocks share it. */
export function packName(packed: Packing): string {
  const { format, cols, tileRows, panels } = packed;
  const { weights } = rowOf(packed);
  const blocks = `${weights}${cols % weights === 0 ? "" : `r${cols % weights}`}`;
  const inPanels = panels === 1 ? "" : "_panels";
  return `pack_w_${format.name.toLowerCase().replaceAll("-", "_")}_b${blocks}_tu${tileRows}${inPanels}`;
}

/** A row as whole blocks and what is left: bytes of each in a file, and of a tile as packed. */
interface BlocksOfRow {
  /** Weights of a block, of floats 1. */
  readonly weights: number;
  readonly bytes: number;
  readonly packedBytes: number;
  readonly restBytes: number;
  readonly packedRestBytes: number;
}

function rowOf({ format, cols, tileRows, recordBytes, tileBytes }: Packing): BlocksOfRow {
  if (format.kind === "float") {
    const { bytes } = format;
    return { weights: 1, bytes, packedBytes: bytes * tileRows, restBytes: 0, packedRestBytes: 0 };
  }
  const weights = blockSize(format, cols);
  const whole = Math.floor(cols / weights);
  const { bytes } = blockOf(format, cols);
  return {
    weights,
    bytes,
    packedBytes: recordBytes,
    restBytes: rowBytes(format, cols) - whole * bytes,
    packedRestBytes: tileBytes - whole * recordBytes,
  };
}

/** What a pack kernel is told of its matrix: the whole blocks of a row. */
export function wholeBlocks(packed: Packing): number {
  return Math.floor(packed.cols / rowOf(packed).weights);
}

/** Bytes that must be readable past the end of the source: gathers fetch 4 bytes at a time. */
export const PACK_SLACK = 4;

/** Rows as they stand in a file → packed tiles. One item per tile: a transpose of 4-byte words into lanes. */
export function pack(packed: Packing, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const source = b.parameter("source", "ptr", "rows as stored, from the first tile's first row on");
  const out = b.parameter("out", "ptr", "packed matrix");
  const firstTile = b.parameter("first_tile", "i32", "tiles before the first one to pack");
  const tiles = b.parameter("tiles", "i32", "tiles to pack");
  const rows = b.parameter("rows", "i32", "rows of the source; rows past them become zero");
  const blocks = b.parameter("blocks", "i32", "whole blocks of a row");
  const allTiles = tilesParameter(b, packed);
  const row = rowOf(packed);
  const sized = (bytes: number, rest: number) => op.iadd(op.imul(blocks, b.i(bytes)), b.i(rest));
  const stride = b.named("row_bytes", sized(row.bytes, row.restBytes));
  const tileBytes = b.named("tile_bytes", sized(row.packedBytes, row.packedRestBytes));
  const within = b.named("row_offsets", op.vimul(op.viota(), op.visplat(stride)));
  const matrix = { base: out, tiles: allTiles, tileBytes };
  forEachItem(b, tiles, (tile) => {
    const inMatrix = b.named("tile", op.iadd(firstTile, tile));
    const vectorOf = (vector: Value<"i32">): Vector => {
      const first = op.iadd(op.imul(tile, b.i(packed.tileRows)), op.imul(vector, b.i(packed.lanes)));
      const firstRow = b.named("first_row", first);
      const ofLanes = op.viadd(op.visplat(firstRow), op.viota());
      const valid = b.named("valid", op.vilt(ofLanes, op.visplat(rows)));
      const offsets = b.named("offsets", op.viselect(valid, within, op.viconst({ value: 0 })));
      const from = b.named("rows_of_vector", op.addrv(source, firstRow, stride));
      return { b, packed, blocks, vector, valid, offsets, from };
    };
    const { format } = packed;
    const shared = sharedVectors(format, target);
    b.loop("vector", 0, packed.tile, shared, (vector) => {
      const first = vectorOf(vector);
      if (format.kind === "float")
        packFloats(first, format.bytes, recordsFrom(b, packed, matrix, inMatrix, b.i(0)));
      else {
        const others = Array.from({ length: shared - 1 }, (_, i) => vectorOf(op.iadd(vector, b.i(i + 1))));
        packBlocks([first, ...others], format, recordsOf(b, packed, matrix, inMatrix));
      }
    });
  });
  return b.build(packName(packed), [`${packed.format.name} rows -> tiles of ${packed.tileRows} rows`]);
}

/** One row vector: which lanes hold rows of the matrix, and where each row starts. */
interface Vector {
  readonly b: KernelBuilder;
  readonly packed: Packing;
  /** Whole blocks of a row. */
  readonly blocks: Value<"i32">;
  /** Its number in the tile. */
  readonly vector: Value<"i32">;
  readonly valid: Value<"vmask">;
  readonly offsets: Value<"vi32">;
  /** Its first row in the source. */
  readonly from: Value<"ptr">;
}

/** Row vectors that share registers. */
type Vectors = readonly [Vector, ...Vector[]];

/** Reads words of the rows from `p` on; 0 in lanes past the last row. */
function fetchFrom({ b, valid, offsets }: Vector, p: Value<"ptr">): Fetch {
  const { op } = b;
  return fetchOnce((offset) => {
    const moved = offset === 0 ? offsets : op.viadd(offsets, op.viconst({ value: offset }));
    return op.viselect(valid, op.vigather(p, moved), op.viconst({ value: 0 }));
  });
}

/** Where the vector's `bytes` bytes per lane start in a row of the tile's. */
function ofVector({ b, packed, vector }: Vector, p: Value<"ptr">, bytes: number): Value<"ptr"> {
  return b.op.addr(p, vector, { stride: bytes * packed.lanes, offset: 0 });
}

function packFloats(v: Vector, bytes: 2 | 4, to: Value<"ptr">): void {
  const { b, packed, from } = v;
  const { op } = b;
  const vectorTo = b.named("vector_out", ofVector(v, to, bytes));
  b.loop("k", 0, v.blocks, 1, (k) => {
    const value = fetchFrom(v, op.addr(from, k, { stride: bytes, offset: 0 }))(0);
    const out = op.addr(vectorTo, k, { stride: bytes * packed.tileRows, offset: 0 });
    if (bytes === 4) op.vistore(out, value, { offset: 0 });
    else op.vu16storelanes(out, value, { offset: 0 });
  });
}

function packBlocks(
  vectors: Vectors,
  format: QuantizedFormat,
  recordAt: (block: Value<"i32">) => Value<"ptr">,
): void {
  const [{ b, packed, blocks }] = vectors;
  const { op } = b;
  const size = blockSize(format, packed.cols);
  const stored = blockOf(format, packed.cols);
  const block = (n: Value<"i32">, inputs: number) => {
    const record = b.named("record", recordAt(n));
    const ofBlock = (v: Vector): Vector => ({
      ...v,
      from: b.named("block", op.addr(v.from, n, { stride: stored.bytes, offset: 0 })),
    });
    const [first, ...others] = vectors;
    const here: Vectors = [ofBlock(first), ...others.map(ofBlock)];
    for (const v of here) packHeader(v, format, stored, fetchFrom(v, v.from), record);
    const codes = ofVector(here[0], record, 4 / here.length);
    packChunks(here, format, stored, b.named("codes_out", codes), inputs);
  };
  b.loop("block", 0, blocks, 1, (n) => block(n, size));
  if (packed.cols % size !== 0) block(blocks, packed.cols % size);
}

/** The codes of the first `inputs` inputs of a block: a loop, whose turns differ by the moves of the fields. */
function packChunks(
  vectors: Vectors,
  format: QuantizedFormat,
  stored: Block,
  codes: Value<"ptr">,
  inputs: number,
): void {
  const [first, ...others] = vectors;
  const { b, packed } = first;
  const { op } = b;
  const { chunks, moves } = chunkPeriod(stored);
  const turns = chunkCount(inputs) / chunks;
  assert(Number.isInteger(turns), "a block ends within a period");
  b.loop("turn", 0, turns, 1, (turn) => {
    const sourcesOf = (v: Vector) => movingSources(v, v.from, moves, turn, turns);
    const [ofFirst, ...ofOthers] = [sourcesOf(first), ...others.map(sourcesOf)];
    const out = op.addr(codes, turn, { stride: chunks * packed.chunkBytes, offset: packed.headerBytes });
    for (let chunk = 0; chunk < chunks; chunk++) {
      const code =
        (sources: readonly MovingSource[]): CodeSource =>
        (input) =>
          stored.code(CHUNK * chunk + input).map((field, f) => at(sources, f)(field));
      packedWords(b, packed, [code(ofFirst), ...ofOthers.map(code)]).forEach((word, n) => {
        const unsigned = format.signedCodes ? flipped(first, word, topBits(format.bits, n)) : word;
        const offset = chunk * packed.chunkBytes + wordOffset(packed, n, 0);
        op.vu8store(out, op.vbytes(unsigned, { bits: 8 }), { offset });
      });
    }
  });
}

/** Where a field of the first turn is in another. */
type MovingSource = (field: BitField) => SourceField;

/** By the number of the field; fields that move together read the same words. */
function movingSources(
  v: Vector,
  block: Value<"ptr">,
  moves: readonly Move[],
  turn: Value<"i32">,
  turns: number,
): MovingSource[] {
  const known = new Map<string, MovingSource>();
  return moves.map((move) => {
    const key = `${move.bytes} ${move.bits}`;
    const source = known.get(key) ?? movingSource(v, block, move, turn, turns);
    known.set(key, source);
    return source;
  });
}

/** Bits that move within bytes are brought to where the last turn has them. */
function movingSource(
  v: Vector,
  block: Value<"ptr">,
  { bytes, bits }: Move,
  turn: Value<"i32">,
  turns: number,
): MovingSource {
  const { b } = v;
  const { op } = b;
  const words = fetchFrom(v, op.addr(block, turn, { stride: bytes, offset: 0 }));
  if (bits === 0) return (field) => ({ ...field, fetch: words });
  const left = op.imul(op.isub(b.i(turns - 1), turn), b.i(bits));
  const factor = b.named("factor", op.visplat(op.ishl(b.i(1), left)));
  const fetch = fetchOnce((offset) => op.vimul(words(offset), factor));
  return (field) => ({ ...field, shift: field.shift + (turns - 1) * bits, fetch });
}

/** Two's complement to offset binary: the top bit of every code; 0 in lanes past the last row. */
function flipped({ b, valid }: Vector, word: Value<"vi32">, bits: number): Value<"vi32"> {
  const { op } = b;
  const changed = op.vixor(word, op.viconst({ value: (bits * 0x01010101) | 0 }));
  return op.viselect(valid, changed, op.viconst({ value: 0 }));
}

function packHeader(
  v: Vector,
  format: QuantizedFormat,
  stored: Block,
  fetch: Fetch,
  record: Value<"ptr">,
): void {
  const { b, packed } = v;
  const { tileRows, halfZeroAt, scaleAt, zeroAt } = packed;
  const groups = groupsOfBlock(format, packed.cols);
  const half = (byte: number, offset: number) =>
    b.op.vu16storelanes(ofVector(v, record, 2), fetch(byte), { offset });
  if (stored.halfScale !== undefined) half(stored.halfScale, 0);
  if (stored.halfZero !== undefined) half(stored.halfZero, halfZeroAt);
  const ofGroups = (
    part: Scale | Zero,
    offset: number,
    fields: ((g: number) => readonly BitField[]) | undefined,
  ) => {
    if (fields === undefined) return;
    if (part.kind === "half" || part.kind === "minimum") {
      for (let g = 0; g < groups; g++) half(fields(g)[0]?.byte ?? 0, offset + 2 * g * tileRows);
      return;
    }
    const bytes = groupBytes(v, part, groups, fields, fetch);
    if (packed.paired) storePairs(v, bytes, record, offset);
    else {
      bytes.forEach((byte, n) => {
        const value = part.kind === "minifloat" ? minifloat(b, byte) : byte;
        storeByte(b, ofVector(v, record, 1), value, offset + n * tileRows);
      });
    }
  };
  ofGroups(format.scale, scaleAt, stored.scale);
  ofGroups(format.zero, zeroAt, stored.zero);
}

/** The bytes of the codes of all groups, as packed. */
function groupBytes(
  { b, packed, valid }: Vector,
  part: Scale | Zero,
  groups: number,
  fields: (g: number) => readonly BitField[],
  fetch: Fetch,
): Value<"vi32">[] {
  const { op } = b;
  const bytes: Value<"vi32">[] = [];
  const offset = part.kind === "product" ? packedOffset(part.codes) : 0;
  // 0 in lanes past the last row.
  const ofRows = () => op.viselect(valid, op.viconst({ value: offset }), op.viconst({ value: 0 }));
  const offsets = offset === 0 ? undefined : ofRows();
  for (let g = 0; g < groups; g++) {
    const stored = fieldsValue(b, fields(g), fetch);
    const value = offsets === undefined ? stored : op.visub(stored, offsets);
    let low = 0;
    for (const { byte, shift, bits } of groupFields(packed, part, groups, g)) {
      const part = op.viand(shifted(b, value, shift - low), op.viconst({ value: (2 ** bits - 1) << shift }));
      bytes[byte] = bytes[byte] === undefined ? part : op.vior(bytes[byte], part);
      low += bits;
    }
  }
  return bytes;
}

/** Stores bytes two by two, those of a row beside each other. */
function storePairs(v: Vector, bytes: readonly Value<"vi32">[], record: Value<"ptr">, at: number): void {
  const { op } = v.b;
  for (let n = 0; n < bytes.length; n += 2) {
    const [even, odd] = bytes.slice(n) as [Value<"vi32">, Value<"vi32">];
    const both = op.vior(op.viand(even, op.viconst({ value: 255 })), op.vishl(odd, { count: 8 }));
    op.vu16storelanes(ofVector(v, record, 2), both, { offset: at + n * v.packed.tileRows });
  }
}

/** A byte without its sign; what is not a number becomes 0. */
function minifloat({ op }: KernelBuilder, byte: Value<"vi32">): Value<"vi32"> {
  const top = op.viconst({ value: 127 });
  return op.viselect(op.vieq(byte, top), op.viconst({ value: 0 }), op.viand(byte, top));
}

/** The byte store takes signed lanes: z − 256 has the same low byte as z ≥ 128. */
function storeByte({ op }: KernelBuilder, p: Value<"ptr">, byte: Value<"vi32">, offset: number): void {
  const half = op.viconst({ value: 128 });
  op.vi8storelanes(p, op.visub(op.vixor(byte, half), half), { offset });
}
