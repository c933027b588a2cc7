import { assert } from "../base/assert.ts";
import type { Value } from "../ir/types.ts";
import { type GroupCodes, isSigned, packedOffset } from "../quant/formats.ts";
import { spreadOver, WHOLE_PAIRS } from "../quant/packing.ts";
import type { Weights } from "./micro-gemv.ts";
import { advance, type Cursor, shifted } from "./work.ts";

/** What the integers of a block's groups are multiples of, where there are any, by row vector. */
export interface BlockFactors {
  readonly scales: readonly Value<"vf32">[];
  readonly minima: readonly Value<"vf32">[];
}

export const NO_FACTORS: BlockFactors = { scales: [], minima: [] };

/** What is known of the groups of a section of a record: the block's factors, and the streams of their scales and zeros. */
export interface GroupHeads {
  readonly factors: BlockFactors;
  readonly scales: readonly Cursor[];
  readonly zeros: readonly Cursor[];
}

/**
 * A byte with 4 bits of exponent, of bias 7, and 3 of mantissa has these where an f32 has them 20 bits up, of bias 127: as
 * an f32 it is 2^120 times too small, below the least normal number too. Halved.
 */
export const MINIFLOAT_FACTOR = 2 ** 119;

/** The scales of row vector u for a group are `value · factor`; all groups of a block share the factor. */
export interface GroupScale {
  readonly value: Value<"vf32">;
  readonly factor?: Value<"vf32">;
}

/** The scales of row vector u for group `g` of the section, in the parts that are stored. */
export function groupScale(w: Weights, heads: GroupHeads, g: number, u: number): GroupScale {
  const { b, format, pack } = w;
  const { op } = b;
  const { scale } = format;
  if (!pack.stored) return { value: expandedValues(w, heads.scales, g, u) };
  switch (scale.kind) {
    case "half":
      return { value: halves(w, heads.scales[0] as Cursor, g, u) };
    case "exponent": {
      const bits = op.vishl(bytes(w, heads.scales, g, u), { count: 23 });
      return { value: op.vbitstof(bits), factor: op.vfconst({ value: 0.5 }) };
    }
    case "minifloat": {
      const bits = op.vishl(bytes(w, heads.scales, g, u), { count: 20 });
      return { value: op.vbitstof(bits), factor: op.vfconst({ value: MINIFLOAT_FACTOR }) };
    }
    case "product": {
      const factor = heads.factors.scales[u] as Value<"vf32">;
      return { value: integers(w, heads.scales, scale.codes, g, u), factor };
    }
  }
}

/** The scales of row vector u for group `g` of the section. */
export function groupScales(w: Weights, heads: GroupHeads, g: number, u: number): Value<"vf32"> {
  const { value, factor } = groupScale(w, heads, g, u);
  return factor === undefined ? value : w.b.op.vfmul(value, factor);
}

/** What row vector u adds to every weight of group `g`: its minima. */
export function groupMinima(w: Weights, heads: GroupHeads, g: number, u: number): Value<"vf32"> {
  const { b, format, pack } = w;
  const { op } = b;
  const { zero } = format;
  if (!pack.stored) return expandedValues(w, heads.zeros, g, u);
  if (zero.kind !== "product") return halves(w, heads.zeros[0] as Cursor, g, u);
  return op.vfmul(integers(w, heads.zeros, zero.codes, g, u), heads.factors.minima[u] as Value<"vf32">);
}

/** The factors of a block, once for all its groups; expanded weights have them if groups are paired. */
export function blockFactors(w: Weights, record: Cursor): BlockFactors {
  const { b, format, pack } = w;
  const shared = advance(record, pack.halfZeroAt);
  const each = (factor: (u: number) => Value<"vf32">, name: string) =>
    Array.from({ length: pack.tile }, (_, u) => b.named(`${name}${u}`, factor(u)));
  if (!pack.stored && !pack.paired) return NO_FACTORS;
  const { scale: kind } = format;
  const unit = kind.kind === "product" ? (kind.unit ?? 1) / (pack.paired ? pairUnit(kind.codes) : 1) : 1;
  const stored = (u: number) =>
    unit === 1 ? halves(w, record, 0, u) : b.op.vfmul(halves(w, record, 0, u), b.op.vfconst({ value: unit }));
  const scale = (u: number) => (pack.stored ? stored(u) : expandedValues(w, [record], 0, u));
  const minimum = (u: number) =>
    pack.stored
      ? b.op.vfsub(b.op.vfconst({ value: 0 }), halves(w, shared, 0, u))
      : expandedValues(w, [shared], 0, u);
  return {
    scales: format.scale.kind === "product" ? each(scale, "block_scale") : [],
    minima: format.zero.kind === "product" ? each(minimum, "block_minimum") : [],
  };
}

/** What integers of pairs are multiplied by: those of 6 bits stand two bits up. */
function pairUnit({ widths }: GroupCodes): number {
  return widths[0] === 6 ? 4 : 1;
}

/** Pair number `n` of a stream of integers of 6 bits, four times. */
function sixBitPair({ b, pack }: Weights, { pointer, offset }: Cursor, n: number, u: number): Value<"vi32"> {
  const { op } = b;
  const both = (value: number) => op.viconst({ value: (value << 16) | (value & 0xffff) });
  const byte = (m: number) =>
    op.vi8loadpairs(pointer, { offset: offset + 2 * (m * pack.tileRows + u * pack.lanes) });
  if (n < WHOLE_PAIRS) return op.viand(byte(n), both(~3));
  const parts = spreadOver(n).map((m, i) => op.vishl(op.viand(byte(m), both(3)), { count: 2 * i + 2 }));
  const code = parts.reduce((a, c) => op.vior(a, c));
  return op.vipairadd(op.vixor(code, both(128)), both(-128));
}

/** The integers of pair number `n` of paired groups, two in a lane, times `pairUnit`. */
export function pairIntegers(
  w: Weights,
  streams: readonly Cursor[],
  codes: GroupCodes,
  n: number,
  u: number,
): Value<"vi32"> {
  const { b, pack } = w;
  const { op } = b;
  const [{ pointer, offset }] = streams as readonly [Cursor];
  const [width] = codes.widths as readonly [number];
  assert(codes.widths.length === 1, "integers of pairs are in one piece");
  const row = u * pack.lanes;
  if (!pack.stored) return op.viload(pointer, { offset: offset + 4 * (n * pack.tileRows + row) });
  if (width === 6) return sixBitPair(w, { pointer, offset }, n, u);
  const perByte = 8 / width;
  const place = Math.floor(n / perByte) * pack.tileRows + row;
  const at = offset + 2 * place;
  if (width === 8) return op.vi8loadpairs(pointer, { offset: at });
  return op.vu8loadpairs(pointer, { offset: at, shift: width * (n % perByte), mask: 2 ** width - 1 });
}

/** The zero points of row vector u for group `g`, less `offset`. */
export function groupZeroPoints(
  w: Weights,
  heads: GroupHeads,
  g: number,
  u: number,
  offset: number,
): Value<"vf32"> {
  const { op } = w.b;
  if (!w.pack.stored) {
    const zeros = expandedValues(w, heads.zeros, g, u);
    return offset === 0 ? zeros : op.vfsub(zeros, op.vfconst({ value: offset }));
  }
  const codes = bytes(w, heads.zeros, g, u);
  return op.vitof(offset === 0 ? codes : op.visub(codes, op.viconst({ value: offset })));
}

/** f16 number n of those that start at `at`. */
function halves({ b, pack }: Weights, at: Cursor, n: number, u: number): Value<"vf32"> {
  return b.op.vhload(at.pointer, { offset: at.offset + 2 * (n * pack.tileRows + u * pack.lanes) });
}

/** Byte number n of a stream. */
function bytes({ b, pack }: Weights, streams: readonly Cursor[], n: number, u: number): Value<"vi32"> {
  const [{ pointer, offset }] = streams as readonly [Cursor];
  return b.op.vu8loadlanes(pointer, { offset: offset + n * pack.tileRows + u * pack.lanes });
}

function expandedValues(
  { b, pack }: Weights,
  streams: readonly Cursor[],
  n: number,
  u: number,
): Value<"vf32"> {
  const [{ pointer, offset }] = streams as readonly [Cursor];
  return b.op.vfload(pointer, { offset: offset + 4 * (n * pack.tileRows + u * pack.lanes) });
}

/** The integers of group `g`, as f32. */
function integers(
  w: Weights,
  streams: readonly Cursor[],
  codes: GroupCodes,
  g: number,
  u: number,
): Value<"vf32"> {
  const { op } = w.b;
  if (w.pack.paired) {
    const both = pairIntegers(w, streams, codes, g >> 1, u);
    const half = g % 2 === 0 ? op.vishl(both, { count: 16 }) : both;
    const top = op.viand(half, op.viconst({ value: 0xffff0000 | 0 }));
    return op.vfmul(op.vitof(top), op.vfconst({ value: 2 ** -16 }));
  }
  if (isSigned(codes)) {
    const [{ pointer, offset }] = streams as readonly [Cursor];
    return op.vitof(op.vi8loadlanes(pointer, { offset: offset + g * w.pack.tileRows + u * w.pack.lanes }));
  }
  // A number that counts in twos stands one bit higher.
  let low = codes.step - 1;
  const parts = codes.widths.map((width, n) => {
    const value = bytes(w, streams.slice(n), Math.floor((g * width) / 8), u);
    const left = low - ((g * width) % 8);
    const mask = (2 ** width - 1) << low;
    low += width;
    if (width === 8 && left === 0) return value;
    return op.viand(shifted(w.b, value, left), op.viconst({ value: mask }));
  });
  const code = parts.reduce((a, c) => op.vior(a, c));
  const rest = codes.offset - packedOffset(codes);
  return op.vitof(rest === 0 ? code : op.visub(code, op.viconst({ value: rest })));
}
