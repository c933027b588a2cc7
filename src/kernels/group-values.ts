import type { Value } from "../ir/types.ts";
import type { GroupCodes } from "../quant/formats.ts";
import type { Weights } from "./micro-gemv.ts";
import { advance, type Cursor, shifted } from "./work.ts";

/** Where the groups of a section of a record are described: the record, and the streams of their scales and zeros. */
export interface GroupHeads {
  readonly record: Cursor;
  readonly scales: readonly Cursor[];
  readonly zeros: readonly Cursor[];
}

/**
 * A byte with 4 bits of exponent, of bias 7, and 3 of mantissa has these where an f32 has them 20 bits up, of bias 127: as
 * an f32 it is 2^120 times too small, below the least normal number too. Halved.
 */
export const MINIFLOAT_FACTOR = 2 ** 119;

/** The scales of row vector u for group `g` of the section. */
export function groupScales(w: Weights, heads: GroupHeads, g: number, u: number): Value<"vf32"> {
  const { b, format, pack } = w;
  const { op } = b;
  const { scale } = format;
  if (!pack.stored) return expandedValues(w, heads.scales, g, u);
  switch (scale.kind) {
    case "half":
      return halves(w, heads.scales[0] as Cursor, g, u);
    case "exponent": {
      const bits = op.vishl(bytes(w, heads.scales, g, u), { count: 23 });
      return op.vfmul(op.vbitstof(bits), op.vfconst({ value: 0.5 }));
    }
    case "minifloat": {
      const bits = op.vishl(bytes(w, heads.scales, g, u), { count: 20 });
      return op.vfmul(op.vbitstof(bits), op.vfconst({ value: MINIFLOAT_FACTOR }));
    }
    case "product": {
      const shared = halves(w, heads.record, 0, u);
      const scaled = scale.unit === undefined ? shared : op.vfmul(shared, op.vfconst({ value: scale.unit }));
      return op.vfmul(integers(w, heads.scales, scale.codes, g, u), scaled);
    }
  }
}

/** What row vector u adds to every weight of group `g`: its minima. */
export function groupMinima(w: Weights, heads: GroupHeads, g: number, u: number): Value<"vf32"> {
  const { b, format, pack } = w;
  const { op } = b;
  const { zero } = format;
  if (!pack.stored) return expandedValues(w, heads.zeros, g, u);
  if (zero.kind !== "product") return halves(w, heads.zeros[0] as Cursor, g, u);
  const shared = halves(w, advance(heads.record, pack.halfZeroAt), 0, u);
  const negated = op.vfsub(op.vfconst({ value: 0 }), shared);
  return op.vfmul(integers(w, heads.zeros, zero.codes, g, u), negated);
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
  if (codes.signed) {
    const sign = op.viconst({ value: 128 });
    return op.vitof(op.visub(op.vixor(bytes(w, streams, g, u), sign), sign));
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
  return op.vitof(codes.offset === 0 ? code : op.visub(code, op.viconst({ value: codes.offset })));
}
