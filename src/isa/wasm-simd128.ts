import type { Isa, RowInput, VectorType } from "./isa.ts";
import { f32Text, hex, splat, tableConstant } from "./wasm-literal.ts";

/**
 * Rows are flat WebAssembly text: every operand is itself text that pushes a value. `@` is the offset immediate of a
 * memory row, and `@+8` is allowed. `%v0`, `%i0`, `%f0` are scratch locals (v128, i32, f32), private to the row only
 * if no operand comes after the first of them: an operand's own text may use the same scratch.
 */

const up = "i32.const 8 i16x8.shl";
const evenBytes = `$x ${up} i32.const 8 i16x8.shr_s`;
const oddBytes = "$x i32.const 8 i16x8.shr_s";
const oddCodes = "$w i32.const 8 i16x8.shr_u";

/**
 * Bytes are multiplied in pairs of 16-bit lanes (`i32x4.dot_i16x8_s`: pmaddwd). With e and o the even and the odd byte
 * of a 16-bit lane, w = e + 256·o is already one factor, and needs no mask:
 *
 *     w · xe + o · (xo − 256·xe) = e·xe + o·xo
 *
 * Exact: w ≤ 127 · 257 and |xo − 256·xe| ≤ 127 · 257 fit 16 bits. The two factors made of x are the same text in every
 * row that shares x, so the engine computes them once. `extmul` with sums in 16 bits has half the speed, since its
 * widening is part of each product.
 */
const dot = products("$w", `${oddBytes} $x ${up} i16x8.sub`);

/** A code above 127 would make w negative: its even byte is masked. */
const dot8 = products("$w #even v128.and", oddBytes);

/** Two products of 16-bit lanes: the first factors of both, and the second factor of the odd bytes. */
function products(evenCodes: string, xOdd: string): string {
  const product = "i32x4.dot_i16x8_s";
  return `$s ${evenCodes} ${evenBytes} ${product} ${oddCodes} ${xOdd} ${product} i32x4.add i32x4.add`;
}

/** Shifts move 16-bit lanes; what crosses a byte lands outside the mask. */
function field({ number }: RowInput): string {
  const shift = number("shift");
  const moved = shift === 0 ? "$0" : `$0 i32.const ${shift} i16x8.shr_u`;
  return `${moved} #bits${number("mask")} v128.and`;
}

function fieldMasks(): Record<string, readonly [VectorType, string]> {
  const masks: Record<string, readonly [VectorType, string]> = {};
  for (let mask = 1; mask < 256; mask++) masks[`bits${mask}`] = ["vu8", splat("i8x16", hex(mask))];
  return masks;
}

function byteOf({ number }: RowInput): string {
  const index = number("index");
  const moved = index === 0 ? "$0" : `$0 i32.const ${8 * index} i32x4.shr_u`;
  return index === 3 ? moved : `${moved} #low8 v128.and`;
}

function permute({ attributes }: RowInput): string {
  const bytes = (attributes.lanes as readonly number[]).flatMap((l) => [
    4 * l,
    4 * l + 1,
    4 * l + 2,
    4 * l + 3,
  ]);
  return `$0 $0 i8x16.shuffle ${bytes.join(" ")}`;
}

const zero = splat("i32x4", "0");

/**
 * b · 2^shift, b a byte in two's complement, is b at the top of 16 bits moved down: no bit of it is lost. With it a makes a
 * sum in 16 bits, of the even bytes or of the odd ones; then the low half of the lane or the high one.
 */
function byteJoin({ number }: RowInput): string {
  const [index, shift] = [number("index"), number("shift")];
  const even = index % 2 === 0;
  const low = even ? "$0 #even v128.and" : "$0 i32.const 8 i16x8.shr_u";
  const high = even ? `$1 ${up}` : "$1 #odd v128.and";
  const sums = `${low} ${high} i32.const ${8 - shift} i16x8.shr_s i16x8.add`;
  return `${index < 2 ? `${sums} i32.const 16 i32x4.shl` : sums} i32.const 16 i32x4.shr_s`;
}

/** Never reads past the n-th lane: the full register, or a pair and a single as the bits of n say. */
const loadLanes = `$1 i32.const 4 i32.eq
  if (result v128) $0 v128.load offset=@
  else $1 i32.const 2 i32.and
    if (result v128) $1 i32.const 1 i32.and
      if (result v128) $0 $0 v128.load64_zero offset=@ v128.load32_lane offset=@+8 2
      else $0 v128.load64_zero offset=@ end
    else $1
      if (result v128) $0 v128.load32_zero offset=@ else ${zero} end
    end
  end`;

const storeLanes = `$1 i32.const 4 i32.eq
  if $0 $2 v128.store offset=@
  else $1 i32.const 2 i32.and
    if $0 $2 v128.store64_lane offset=@ 0 $1 i32.const 1 i32.and
      if $0 $2 v128.store32_lane offset=@+8 2 end
    else $1
      if $0 $2 v128.store32_lane offset=@ 0 end
    end
  end`;

/**
 * binary16 → f32, h = sign · 2^15 + m (Maratyszcza's fp16). Normal: m shifted into place with 224 added to its
 * exponent (infinity and NaN reach 255 with it), times 2^−112. Subnormal (m < 2^10): m below the mantissa of 0.5,
 * minus 0.5. Neither product nor sum meets an f32 subnormal.
 */
const loadHalf = `$0 v128.load16x4_s offset=@ local.tee %v0 #half_bits v128.and local.tee %v1
  #half_bias v128.or #half_bias f32x4.sub
  local.get %v1 i32.const 13 i32x4.shl #half_exponent i32x4.add #half_scale f32x4.mul
  #half_normal local.get %v1 i32x4.gt_s v128.bitselect
  local.get %v0 #sign v128.and v128.or`;

/**
 * f32 → binary16 of the magnitude m, sign apart. Normal: m capped at 2^16 (which gives infinity) plus just under half a
 * unit, plus one if the kept part is odd, with the exponent rebased. Below 2^−14: m + 0.5 rounds m to units of
 * 2^−24 in the low bits. NaN: quiet bit and the top of the payload go over an infinity.
 */
const storeHalf = `$0 $1 local.tee %v0 #magnitude v128.and local.tee %v1
  #half_bias f32x4.add #half_bias i32x4.sub
  local.get %v1 #half_infinity i32x4.min_s local.tee %v2
  local.get %v2 i32.const 13 i32x4.shr_u #one v128.and i32x4.add #half_round i32x4.add i32.const 13 i32x4.shr_u
  #half_smallest local.get %v1 i32x4.gt_s v128.bitselect
  local.get %v1 i32.const 13 i32x4.shr_u #half_payload v128.and #half_quiet v128.or
  local.get %v1 #infinity i32x4.gt_s v128.and v128.or
  local.get %v0 i32.const 16 i32x4.shr_u #half_sign v128.and v128.or
  #low_words i8x16.swizzle v128.store64_lane offset=@ 0`;

const gather = [1, 2, 3].reduce(
  (vector, lane) => `${vector} $0 $1 i32x4.extract_lane ${lane} i32.add i32.load i32x4.replace_lane ${lane}`,
  "$0 $1 i32x4.extract_lane 0 i32.add v128.load32_zero",
);

/** Halves added (or compared), then the two lanes that are left. */
function reduction(vectorOp: string, shape: "f32x4" | "i32x4", last: string): string {
  const halves = `$0 $0 $0 i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 ${vectorOp}`;
  return `${halves} local.tee %v0 ${shape}.extract_lane 0 local.get %v0 ${shape}.extract_lane 1 ${last}`;
}

const maxLane = `$0 $0 $0 i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 f32x4.max local.tee %v0
  local.get %v0 local.get %v0 i8x16.shuffle 4 5 6 7 0 1 2 3 0 1 2 3 0 1 2 3 f32x4.max f32x4.extract_lane 0`;

/** Plain SIMD128: 4 lanes, no fused multiply-add, no dot product of bytes. */
export const wasmSimd128: Isa = {
  name: "wasm-simd128",
  syntax: "wasm",
  lanes: 4,
  dotByte: (lane, i) => 4 * lane + i,
  dot8Offset: 0,
  dotLinks: () => Number.POSITIVE_INFINITY,
  fusedMultiplyAdd: false,
  signs: { bits: 8, fields: [4, 4] },
  features: ["simd128"], // a WebAssembly proposal, not a CPU flag: every engine that validates v128 has it
  flags: [],
  headers: [],
  registers: 15, // of x86-64, less the one V8 keeps; AArch64 has 31
  types: { vf32: "v128", vi32: "v128", vu8: "v128", vi8: "v128", vsum: "v128", vmask: "v128" },
  constants: {
    ...fieldMasks(),
    even: ["vu8", splat("i16x8", "0xff")],
    odd: ["vu8", splat("i16x8", "0xff00")],
    low8: ["vi32", splat("i32x4", "0xff")],
    low16: ["vi32", splat("i32x4", "0xffff")],
    high16: ["vi32", splat("i32x4", hex(0xffff0000))],
    top: ["vu8", splat("i8x16", "0x80")],
    low_bytes: ["vu8", `v128.const i8x16 0 4 8 12${" 0x80".repeat(12)}`],
    low_words: ["vu8", `v128.const i8x16 0 1 4 5 8 9 12 13${" 0x80".repeat(8)}`],
    one: ["vi32", splat("i32x4", "1")],
    sign: ["vi32", splat("i32x4", "0x80000000")],
    magnitude: ["vi32", splat("i32x4", "0x7fffffff")],
    infinity: ["vi32", splat("i32x4", "0x7f800000")],
    half_bits: ["vi32", splat("i32x4", "0x7fff")],
    half_bias: ["vf32", splat("f32x4", "0.5")],
    half_exponent: ["vi32", splat("i32x4", hex(224 << 23))],
    half_scale: ["vf32", splat("f32x4", f32Text(2 ** -112))],
    half_normal: ["vi32", splat("i32x4", "0x400")],
    half_smallest: ["vi32", splat("i32x4", hex((127 - 14) << 23))],
    half_infinity: ["vi32", splat("i32x4", hex((127 + 16) << 23))],
    half_round: ["vi32", splat("i32x4", hex(0xfff - (112 << 23)))],
    half_payload: ["vi32", splat("i32x4", "0x1ff")],
    half_quiet: ["vi32", splat("i32x4", "0x200")],
    half_sign: ["vi32", splat("i32x4", "0x8000")],
  },
  helpers: {},
  rows: {
    vfsplat: "$0 f32x4.splat",
    visplat: "$0 i32x4.splat",
    vfconst: ({ number }) => splat("f32x4", f32Text(number("value"))),
    viconst: ({ number }) => splat("i32x4", String(number("value") | 0)),
    viota: "v128.const i32x4 0 1 2 3",
    vfload: "$0 v128.load offset=@",
    vfstore: "$0 $1 v128.store offset=@",
    vfloadn: loadLanes,
    vfstoren: storeLanes,
    vhload: loadHalf,
    vhstore: storeHalf,
    vbfload: "$0 v128.load16x4_u offset=@ i32.const 16 i32x4.shl",
    viload: "$0 v128.load offset=@",
    vistore: "$0 $1 v128.store offset=@",
    vu8loadlanes: "$0 v128.load32_zero offset=@ i16x8.extend_low_i8x16_u i32x4.extend_low_i16x8_u",
    vi8loadlanes: "$0 v128.load32_zero offset=@ i16x8.extend_low_i8x16_s i32x4.extend_low_i16x8_s",
    vi8loadpairs: "$0 v128.load8x8_s offset=@",
    vu8loadpairs: ({ number }) => {
      const moved = `$0 v128.load8x8_u offset=@ i32.const ${number("shift")} i16x8.shr_u`;
      return `${moved} ${splat("i16x8", String(number("mask")))} v128.and`;
    },
    vi8storelanes: "$0 $1 #low_bytes i8x16.swizzle v128.store32_lane offset=@ 0",
    vu16storelanes: "$0 $1 #low_words i8x16.swizzle v128.store64_lane offset=@ 0",
    vu8load: "$0 v128.load offset=@",
    vu8store: "$0 $1 v128.store offset=@",
    vbroadcast4: "$0 v128.load32_splat offset=@",
    vu8table: "$0 v128.load offset=@",
    vigather: gather,
    vfadd: "$0 $1 f32x4.add",
    vfsub: "$0 $1 f32x4.sub",
    vfmul: "$0 $1 f32x4.mul",
    vfdiv: "$0 $1 f32x4.div",
    vfma: "$0 $1 f32x4.mul $2 f32x4.add",
    vfmin: "$1 $0 f32x4.pmin", // pmin(x, y) = y < x ? y : x
    vfmax: "$1 $0 f32x4.pmax",
    vfabs: "$0 f32x4.abs",
    vfsqrt: "$0 f32x4.sqrt",
    vftoi: "$0 f32x4.nearest i32x4.trunc_sat_f32x4_s",
    vitof: "$0 f32x4.convert_i32x4_s",
    vftobits: "$0",
    vbitstof: "$0",
    viadd: "$0 $1 i32x4.add",
    visub: "$0 $1 i32x4.sub",
    vimul: "$0 $1 i32x4.mul",
    vipairdot: "$0 $1 i32x4.dot_i16x8_s $2 i32x4.add",
    vipairadd: "$0 $1 i16x8.add",
    viand: "$0 $1 v128.and",
    vior: "$0 $1 v128.or",
    vixor: "$0 $1 v128.xor",
    vishl: "$0 i32.const {count} i32x4.shl",
    vishr: "$0 i32.const {count} i32x4.shr_u",
    vflt: "$0 $1 f32x4.lt",
    vilt: "$0 $1 i32x4.lt_s",
    vieq: "$0 $1 i32x4.eq",
    vfselect: "$1 $2 $0 v128.bitselect",
    viselect: "$1 $2 $0 v128.bitselect",
    vfpermute: permute,
    vfield: field,
    vu8flip: "$0 #top v128.xor",
    vu8mean: "$0 $1 i8x16.avgr_u",
    vu8add: "$0 $1 i8x16.add",
    vu8lookup: "$0 $1 i8x16.swizzle",
    vlookup: ({ attributes }) => `${tableConstant(attributes.table)} $0 i8x16.swizzle`,
    vbyteof: byteOf,
    vbytejoin: byteJoin,
    vbytes: "$0",
    vsumjoin: "$0 $1 i32.const {shift} i32x4.shr_s i32x4.add",
    vsumpair: ({ number }) =>
      `$1 i32.const ${16 - number("shift")} i32x4.shl #high16 v128.and $0 #low16 v128.and v128.or`,
    vfsum: reduction("f32x4.add", "f32x4", "f32.add"),
    vfmaxlane: maxLane,
    visum: reduction("i32x4.add", "i32x4", "i32.add"),
  },
  dot: { dot: { next: dot }, dot8: { next: dot8 }, dot8n: { next: dot8 } },
  costs: {
    // x86-64. The factors made of activations, 4 and 3 instructions, are shared by the rows (of 4, say).
    dot: 6, // shift, two pmaddwd, two paddd
    dotClose: 0,
    dot8: 7, // and, shift, two pmaddwd, two paddd
    dot8n: 7,
    tableLoad: 0,
    lookup: 3, // V8 makes indexes above 15 give 0: paddusb of a copy, pshufb
    byteJoin: 3.5, // and, shift, shift, add, which serve two of the four indexes; one shift or two
    fieldShifted: 2,
    field: 1,
    halfLoad: 11,
    simple: 1,
    perCycle: 3,
  },
};
