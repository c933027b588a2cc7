import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { type BitField, type Block, blockOf, rowBytes } from "../quant/blocks.ts";
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
import { groupFields, type Packing, wordOffset } from "../quant/packing.ts";
import { type Fetch, fieldsValue, packedWords } from "./pack-codes.ts";
import { forEachItem, shifted } from "./work.ts";

export function packName({ format, cols, tileRows }: Packing): string {
  return `pack_w_${format.name.toLowerCase().replaceAll("-", "_")}_c${cols}_tu${tileRows}`;
}

/** Bytes that must be readable past the end of the source: gathers fetch 4 bytes at a time. */
export const PACK_SLACK = 4;

/** Rows as they stand in a file → packed tiles. One item per tile: a transpose of 4-byte words into lanes. */
export function pack(packed: Packing, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const source = b.parameter("source", "ptr", "rows as stored, from the first tile's first row on");
  const out = b.parameter("out", "ptr", "packed tiles");
  const tiles = b.parameter("tiles", "i32", "tiles to pack");
  const rows = b.parameter("rows", "i32", "rows of the source; rows past them become zero");
  const stride = rowBytes(packed.format, packed.cols);
  const within = b.named("row_offsets", op.vimul(op.viota(), op.viconst({ value: stride })));
  forEachItem(b, tiles, (tile) => {
    const to = b.named("tile_out", op.addr(out, tile, { stride: packed.tileBytes, offset: 0 }));
    b.loop("vector", 0, packed.tile, 1, (vector) => {
      const first = op.iadd(op.imul(tile, b.i(packed.tileRows)), op.imul(vector, b.i(packed.lanes)));
      const firstRow = b.named("first_row", first);
      const row = op.viadd(op.visplat(firstRow), op.viota());
      const valid = b.named("valid", op.vilt(row, op.visplat(rows)));
      const offsets = b.named("offsets", op.viselect(valid, within, op.viconst({ value: 0 })));
      const from = b.named("rows_of_vector", op.addr(source, firstRow, { stride, offset: 0 }));
      const vectorOf = { b, packed, vector, valid, offsets };
      if (packed.format.kind === "float") packFloats(vectorOf, packed.format.bytes, from, to);
      else packBlocks(vectorOf, packed.format, from, to);
    });
  });
  return b.build(packName(packed), [
    `${packed.format.name} rows of ${packed.cols} weights (${stride} bytes) -> tiles of ${packed.tileRows} rows (${packed.tileBytes} bytes)`,
  ]);
}

/** One row vector: which lanes hold rows of the matrix, and where each row starts. */
interface Vector {
  readonly b: KernelBuilder;
  readonly packed: Packing;
  /** Its number in the tile. */
  readonly vector: Value<"i32">;
  readonly valid: Value<"vmask">;
  readonly offsets: Value<"vi32">;
}

/** Reads words of the rows from `p` on; 0 in lanes past the last row. */
function fetchFrom({ b, valid, offsets }: Vector, p: Value<"ptr">): Fetch {
  const { op } = b;
  return (offset) => {
    const moved = offset === 0 ? offsets : op.viadd(offsets, op.viconst({ value: offset }));
    return op.viselect(valid, op.vigather(p, moved), op.viconst({ value: 0 }));
  };
}

/** Where the vector's `bytes` bytes per lane start in a row of the tile's. */
function ofVector({ b, packed, vector }: Vector, p: Value<"ptr">, bytes: number): Value<"ptr"> {
  return b.op.addr(p, vector, { stride: bytes * packed.lanes, offset: 0 });
}

function packFloats(v: Vector, bytes: 2 | 4, from: Value<"ptr">, to: Value<"ptr">): void {
  const { b, packed } = v;
  const { op } = b;
  const vectorTo = b.named("vector_out", ofVector(v, to, bytes));
  b.loop("k", 0, packed.cols, 1, (k) => {
    const value = fetchFrom(v, op.addr(from, k, { stride: bytes, offset: 0 }))(0);
    const out = op.addr(vectorTo, k, { stride: bytes * packed.tileRows, offset: 0 });
    if (bytes === 4) op.vistore(out, value, { offset: 0 });
    else op.vu16storelanes(out, value, { offset: 0 });
  });
}

function packBlocks(v: Vector, format: QuantizedFormat, from: Value<"ptr">, to: Value<"ptr">): void {
  const { b, packed } = v;
  const { op } = b;
  const size = blockSize(format, packed.cols);
  const stored = blockOf(format, packed.cols);
  const block = (n: Value<"i32">, inputs: number) => {
    const rows = b.named("block", op.addr(from, n, { stride: stored.bytes, offset: 0 }));
    const record = b.named("record", op.addr(to, n, { stride: packed.recordBytes, offset: 0 }));
    packHeader(v, format, stored, fetchFrom(v, rows), record);
    packChunks(v, format, stored, rows, b.named("codes_out", ofVector(v, record, 4)), inputs);
  };
  const whole = Math.floor(packed.cols / size);
  b.loop("block", 0, whole, 1, (n) => block(n, size));
  if (packed.cols % size !== 0) block(b.i(whole), packed.cols % size);
}

/** The codes of a block: in a loop where all chunks are alike, else one after the other. */
function packChunks(
  v: Vector,
  format: QuantizedFormat,
  stored: Block,
  block: Value<"ptr">,
  codes: Value<"ptr">,
  inputs: number,
): void {
  const { b, packed } = v;
  const { op } = b;
  const chunk = (p: Value<"ptr">, out: Value<"ptr">, first: number) => {
    const words = packedWords(b, format, (input) => stored.code(first + input), fetchFrom(v, p));
    words.forEach((word, n) => {
      const unsigned = format.signedCodes ? flipped(v, word, topBits(format.bits, n)) : word;
      op.vu8store(out, op.vbytes(unsigned, { bits: 8 }), { offset: wordOffset(packed, n, 0) });
    });
  };
  const { chunkBytes } = stored;
  if (chunkBytes !== undefined) {
    b.loop("chunk", 0, chunkCount(inputs), 1, (c) => {
      const out = op.addr(codes, c, { stride: packed.chunkBytes, offset: packed.headerBytes });
      chunk(op.addr(block, c, { stride: chunkBytes, offset: 0 }), out, 0);
    });
    return;
  }
  for (let c = 0; c < chunkCount(inputs); c++) {
    chunk(
      block,
      op.addr(codes, b.i(c), { stride: packed.chunkBytes, offset: packed.headerBytes }),
      c * CHUNK,
    );
  }
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
    at: number,
    fields: ((g: number) => readonly BitField[]) | undefined,
  ) => {
    if (fields === undefined) return;
    if (part.kind === "half" || part.kind === "minimum") {
      for (let g = 0; g < groups; g++) half(fields(g)[0]?.byte ?? 0, at + 2 * g * tileRows);
      return;
    }
    const bytes = groupBytes(v, part, groups, fields, fetch);
    if (packed.paired) storePairs(v, bytes, record, at);
    else {
      bytes.forEach((byte, n) => {
        const value = part.kind === "minifloat" ? minifloat(b, byte) : byte;
        storeByte(b, ofVector(v, record, 1), value, at + n * tileRows);
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
