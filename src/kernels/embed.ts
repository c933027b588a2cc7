import { assert } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { quads } from "../quant/chunks.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  type GroupCodes,
  groupSize,
  groupsOfBlock,
  isSigned,
  packedOffset,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { type Packing, sharedVectors, WHOLE_PAIRS, wordOffset } from "../quant/packing.ts";
import { paddedCols } from "./activations.ts";
import { MINIFLOAT_FACTOR } from "./group-values.ts";
import { halfToFloat } from "./math.ts";
import { recordsOf, tilesParameter } from "./records.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

/** What is done with a row on its way from the matrix. */
export interface EmbedChange {
  /** Factor on the values, 1 if not given. */
  readonly scale?: number | undefined;
  /** Adds to the output instead of replacing it. */
  readonly accumulate?: boolean;
}

export function embedName(
  { format, cols, tileRows }: Packing,
  { scale, accumulate }: EmbedChange = {},
): string {
  const how = `${accumulate ? "add_" : ""}${scale === undefined ? "" : `s${nameOfNumber(scale)}_`}`;
  return `embed_${how}w_${format.name.toLowerCase().replaceAll("-", "_")}_c${cols}_tu${tileRows}`;
}

/**
 * x[t] = W[token[t]]: one row of a packed matrix per token, dequantized. Scalar code: a row is one lane of its tile, and
 * one row per token is little work beside the projections.
 */
export function embed(pack: Packing, target: Target, change: EmbedChange = {}): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const table = b.parameter("table", "ptr", "packed embedding matrix");
  const tokens = b.parameter("tokens", "ptr", "i32 token of every row");
  const x = b.parameter("x", "ptr", "f32 rows");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const matrix = { base: table, tiles: tilesParameter(b, pack), tileBytes: b.i(pack.tileBytes) };
  forEachItem(b, op.iload(counts, { offset: 0 }), (item) => {
    const token = b.named("id", op.iload(op.addr(tokens, item, { stride: 4, offset: 0 }), { offset: 0 }));
    const tile = b.named("tile", op.idiv(token, b.i(pack.tileRows)));
    const row = {
      recordAt: recordsOf(b, pack, matrix, tile),
      row: b.named("tile_row", op.irem(token, b.i(pack.tileRows))),
      out: b.named("x_row", op.addr(x, item, { stride: 4 * paddedCols(pack.cols), offset: 0 })),
      change,
    };
    if (pack.format.kind === "float") floatRow(b, pack, pack.format.element, row);
    else quantizedRow(b, pack, pack.format, target, row);
  });
  const { scale, accumulate } = change;
  const factor = scale === undefined ? "" : `${scale} * `;
  return b.build(embedName(pack, change), [
    `x[t] ${accumulate ? "+=" : "="} ${factor}row token[t] of a ${pack.format.name} matrix, ${pack.cols} values`,
  ]);
}

interface Row {
  readonly recordAt: (block: Value<"i32">) => Value<"ptr">;
  readonly row: Value<"i32">;
  readonly out: Value<"ptr">;
  readonly change: EmbedChange;
}

/** Stores a value of the row where it belongs. */
function put(
  b: KernelBuilder,
  { scale, accumulate }: EmbedChange,
  p: Value<"ptr">,
  value: Value<"f32">,
  offset = 0,
): void {
  const { op } = b;
  const scaled = scale === undefined ? value : op.fmul(value, b.f(scale));
  op.fstore(p, accumulate ? op.fadd(op.fload(p, { offset }), scaled) : scaled, { offset });
}

function floatRow(
  b: KernelBuilder,
  pack: Packing,
  element: "f32" | "f16" | "bf16",
  { recordAt, row, out, change }: Row,
): void {
  const { op } = b;
  const bytes = element === "f32" ? 4 : 2;
  const base = op.addr(recordAt(b.i(0)), row, { stride: bytes, offset: 0 });
  b.loop("k", 0, pack.cols, 1, (k) => {
    const p = op.addr(base, k, { stride: pack.tileRows * bytes, offset: 0 });
    const value =
      element === "f32"
        ? op.fload(p, { offset: 0 })
        : element === "f16"
          ? halfToFloat(b, op.u16load(p, { offset: 0 }))
          : op.bitstof(op.ishl(op.u16load(p, { offset: 0 }), b.i(16)));
    put(b, change, op.addr(out, k, { stride: 4, offset: 0 }), value);
  });
}

function quantizedRow(
  b: KernelBuilder,
  pack: Packing,
  format: QuantizedFormat,
  target: Target,
  at: Row,
): void {
  const { op } = b;
  const size = blockSize(format, pack.cols);
  const whole = Math.floor(pack.cols / size);
  const codes = b.named("codes_of_row", codesOfRow(b, pack, target, at.row));
  const block = (n: Value<"i32">, inputs: number) => {
    const record = b.named("record", at.recordAt(n));
    const from = b.named("codes", op.addr(record, codes, { stride: 1, offset: pack.headerBytes }));
    const to = b.named("to", op.addr(at.out, n, { stride: 4 * size, offset: 0 }));
    b.loop("chunk", 0, chunkCount(inputs), 1, (c) => {
      const chunk = unpackChunk(b, pack, target, op.addr(from, c, { stride: pack.chunkBytes, offset: 0 }));
      const out = op.addr(to, c, { stride: 4 * CHUNK, offset: 0 });
      const group = groupSize(format, pack.cols);
      for (let first = 0; first < CHUNK; first += group) {
        const g = op.idiv(op.iadd(op.imul(c, b.i(CHUNK)), b.i(first)), b.i(group));
        const weights = { b, pack, format, record, row: at.row, group: b.named("group", g) };
        const values = chunk.slice(first, first + group).map((code) => tableValue(b, format, code));
        dequantized(weights, values).forEach((value, k) => {
          put(b, at.change, out, value, 4 * (first + k));
        });
      }
    });
  };
  b.loop("block", 0, whole, 1, (n) => block(n, size));
  if (pack.cols % size !== 0) block(b.i(whole), pack.cols % size);
  // The padding of the last chunk has code 0 but not value 0.
  for (let k = pack.cols; k < chunkCount(pack.cols) * CHUNK; k++)
    op.fstore(at.out, b.f(0), { offset: 4 * k });
}

/** Where the codes of a row begin among those of a record of its tile. */
function codesOfRow(b: KernelBuilder, pack: Packing, target: Target, row: Value<"i32">): Value<"i32"> {
  const { op } = b;
  const laneStride = target.dotByte(1, 0) - target.dotByte(0, 0);
  const byteStride = target.dotByte(0, 1) - target.dotByte(0, 0);
  for (let lane = 0; lane < target.lanes; lane++) {
    for (let i = 0; i < 4; i++) {
      const isAffine = target.dotByte(lane, i) === lane * laneStride + target.dotByte(0, i);
      assert(isAffine, "dotByte is not affine in the lane");
      const isEven = target.dotByte(0, i) === i * byteStride + target.dotByte(0, 0);
      assert(isEven || !pack.signs, "the bytes of a lane are not evenly spaced");
    }
  }
  const lane = op.irem(row, b.i(pack.lanes));
  const vector = op.idiv(row, b.i(pack.lanes));
  const shared = sharedVectors(pack.format, target);
  const register = shared === 1 ? vector : op.idiv(vector, b.i(shared));
  const inRegister = op.iadd(op.imul(register, b.i(4 * pack.lanes)), op.imul(lane, b.i(laneStride)));
  return shared === 1
    ? inRegister
    : op.iadd(inRegister, op.imul(op.irem(vector, b.i(shared)), b.i((4 / shared) * byteStride)));
}

/** The value that a code stands for: one of a table of bytes, which are four to a word. */
function tableValue(b: KernelBuilder, { table }: QuantizedFormat, code: Value<"i32">): Value<"i32"> {
  if (table === undefined) return code;
  const { op } = b;
  const words = Array.from({ length: Math.ceil(table.length / 4) }, (_, w) =>
    b.i([0, 1, 2, 3].reduce((word, i) => word | ((table[4 * w + i] ?? 0) << (8 * i)), 0)),
  );
  const index = op.ishr(code, b.i(2));
  const word = words.reduce((before, word, w) => op.iselect(op.ieq(index, b.i(w)), word, before));
  const shift = op.imul(op.iand(code, b.i(3)), b.i(8));
  return op.iand(op.ishr(word, shift), b.i(255));
}

/** Codes of one group of one row. */
interface GroupOfRow {
  readonly b: KernelBuilder;
  readonly pack: Packing;
  readonly format: QuantizedFormat;
  readonly record: Value<"ptr">;
  readonly row: Value<"i32">;
  /** Its number in the block. */
  readonly group: Value<"i32">;
}

/** The weights of a group's codes. */
function dequantized(at: GroupOfRow, codes: readonly Value<"i32">[]): Value<"f32">[] {
  const { b, pack, format } = at;
  const { op } = b;
  const { zero } = format;
  const scale = b.named("scale", scaleOf(at));
  const values = codes.map((code) => op.itof(code));
  switch (zero.kind) {
    case "constant":
      return values.map((q) => op.fmul(op.fsub(q, b.f(zero.value)), scale));
    case "code": {
      const point = b.named("zero", op.itof(byteOf(at, pack.zeroAt, at.group)));
      return values.map((q) => op.fmul(op.fsub(q, point), scale));
    }
    case "minimum": {
      const minimum = b.named("minimum", halfOf(at, pack.zeroAt, at.group));
      return values.map((q) => op.fadd(op.fmul(scale, q), minimum));
    }
    case "product": {
      const minimum = op.fmul(halfOf(at, pack.halfZeroAt, b.i(0)), groupInteger(at, pack.zeroAt, zero.codes));
      return values.map((q) => op.fsub(op.fmul(scale, q), b.named("minimum", minimum)));
    }
  }
}

function scaleOf(at: GroupOfRow): Value<"f32"> {
  const { b, pack, format } = at;
  const { op } = b;
  const { scale } = format;
  switch (scale.kind) {
    case "half":
      return halfOf(at, pack.scaleAt, at.group);
    case "exponent":
      return op.fmul(op.bitstof(op.ishl(byteOf(at, pack.scaleAt, at.group), b.i(23))), b.f(0.5));
    case "minifloat":
      return op.fmul(op.bitstof(op.ishl(byteOf(at, pack.scaleAt, at.group), b.i(20))), b.f(MINIFLOAT_FACTOR));
    case "product": {
      const shared = halfOf(at, 0, b.i(0));
      const scaled = scale.unit === undefined ? shared : op.fmul(shared, b.f(scale.unit));
      return op.fmul(scaled, groupInteger(at, pack.scaleAt, scale.codes));
    }
  }
}

/** Value `n` of the f16s at `offset` of the header. */
function halfOf({ b, pack, record, row }: GroupOfRow, offset: number, n: Value<"i32">): Value<"f32"> {
  const ofRow = b.op.addr(record, row, { stride: 2, offset });
  return halfToFloat(
    b,
    b.op.u16load(b.op.addr(ofRow, n, { stride: 2 * pack.tileRows, offset: 0 }), { offset: 0 }),
  );
}

/** Byte `n` of those at `offset` of the header, of those of `paired` groups the one for group `at.group`. */
function byteOf(at: GroupOfRow, offset: number, n: Value<"i32">): Value<"i32"> {
  const { b, pack, record, row } = at;
  const { op } = b;
  const bytes = pack.paired ? 2 : 1;
  const ofRow = op.addr(record, row, { stride: bytes, offset });
  const place = op.addr(ofRow, n, { stride: bytes * pack.tileRows, offset: 0 });
  const odd = pack.paired ? op.irem(at.group, b.i(2)) : b.i(0);
  return op.u8load(op.addr(place, odd, { stride: 1, offset: 0 }), { offset: 0 });
}

/** The integer of a group, of which the header has the code at `offset`. */
function groupInteger(at: GroupOfRow, offset: number, codes: GroupCodes): Value<"f32"> {
  const { b, pack, format, group } = at;
  const { op } = b;
  const groups = groupsOfBlock(format, pack.cols);
  const number = pack.paired ? op.idiv(group, b.i(2)) : group;
  let [low, before] = [codes.step - 1, 0];
  const parts = codes.widths.map((width) => {
    if (width === 6) return sixBits(at, offset + before * pack.tileRows, number);
    const perByte = 8 / width;
    const byte = byteOf(at, offset + before * pack.tileRows, op.idiv(number, b.i(perByte)));
    const field = op.ishr(byte, op.imul(op.irem(number, b.i(perByte)), b.i(width)));
    const placed = op.ishl(op.iand(field, b.i(2 ** width - 1)), b.i(low));
    low += width;
    before += (groups * width) / 8;
    return placed;
  });
  const code = parts.reduce((a, c) => op.ior(a, c));
  const top = b.i(2 ** (codes.widths.reduce<number>((sum, width) => sum + width, 0) - 1));
  const value = isSigned(codes) ? op.isub(op.ixor(code, top), top) : code;
  const rest = codes.offset - packedOffset(codes);
  return op.itof(rest === 0 ? value : op.isub(value, b.i(rest)));
}

/** The integer of 6 bits of the group of the row, of pair `pair` of a stream (`groupFields`). */
function sixBits(at: GroupOfRow, offset: number, pair: Value<"i32">): Value<"i32"> {
  const { b } = at;
  const { op } = b;
  const isWhole = op.ilt(pair, b.i(WHOLE_PAIRS));
  const first = op.iselect(isWhole, b.i(0), op.imul(op.isub(pair, b.i(WHOLE_PAIRS)), b.i(3)));
  const two = (n: number) => op.ishl(op.iand(byteOf(at, offset, op.iadd(first, b.i(n))), b.i(3)), b.i(2 * n));
  const spread = op.ior(op.ior(two(0), two(1)), two(2));
  const own = byteOf(at, offset, op.iselect(isWhole, pair, b.i(0)));
  return op.iselect(isWhole, op.ishr(own, b.i(2)), spread);
}

/** The codes of a chunk of signs, 8 inputs a byte. */
function unpackSigns(b: KernelBuilder, pack: Packing, target: Target, chunk: Value<"ptr">): Value<"i32">[] {
  const { op } = b;
  const bytesOfWord = target.signs.bits / 8;
  const bytes = Array.from({ length: CHUNK / 8 }, (_, n) => {
    const word = wordOffset(pack, Math.floor(n / bytesOfWord), 0);
    return op.u8load(chunk, { offset: word + target.dotByte(0, n % bytesOfWord) });
  });
  return bytes.flatMap((byte) => [0, 1, 2, 3, 4, 5, 6, 7].map((i) => op.iand(op.ishr(byte, b.i(i)), b.i(1))));
}

/** The 32 codes of one row in a chunk, as scalars in input order. */
function unpackChunk(b: KernelBuilder, pack: Packing, target: Target, chunk: Value<"ptr">): Value<"i32">[] {
  const { op } = b;
  if (pack.signs) return unpackSigns(b, pack, target, chunk);
  const bits = pack.codeBits;
  const bytes = Array.from({ length: 4 * bits }, (_, byte) =>
    op.u8load(chunk, { offset: wordOffset(pack, byte >> 2, 0) + target.dotByte(0, byte & 3) }),
  );
  const field = (byte: number, shift: number, width: number) =>
    op.iand(op.ishr(bytes[byte] as Value<"i32">, b.i(shift)), b.i(2 ** width - 1));
  const spread = (i: number, bit: number) =>
    Array.from({ length: bits }, (_, j) => op.ishl(field(4 * j + i, bit, 1), b.i(j))).reduce((low, high) =>
      op.ior(low, high),
    );
  return quads(bits).flatMap((quad) =>
    [0, 1, 2, 3].map((i) =>
      quad.kind === "together"
        ? field(4 * quad.word + i, quad.shift, bits)
        : spread(i, quad.slot + quad.spare),
    ),
  );
}
