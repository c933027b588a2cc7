import type { Type } from "./types.ts";

/**
 * The closed list of ops. Each row gives operand and result types, the attributes (compile-time integers, floats or
 * lane lists), and what the op means; `ir/interp.ts` is the executable form of the last column, every ISA table and
 * every syntax has one row per op, and a mapped type makes a missing row a compile error.
 *
 * Conventions: i32 arithmetic wraps; f32 arithmetic rounds to nearest even; every memory op takes a byte address and
 * a constant byte `offset`, needs no alignment, and is little-endian.
 */
interface OpSpec {
  readonly operands: readonly Type[];
  readonly result: Type | null;
  readonly attributes: readonly string[];
  readonly meaning: string;
  /** False where the op reads or writes memory or other state: it may not be moved or dropped. */
  readonly pure: boolean;
}

function pure<const O extends readonly Type[], const R extends Type, const A extends readonly string[]>(
  operands: O,
  result: R,
  attributes: A,
  meaning: string,
) {
  return { operands, result, attributes, meaning, pure: true } as const;
}

function effect<
  const O extends readonly Type[],
  const R extends Type | null,
  const A extends readonly string[],
>(operands: O, result: R, attributes: A, meaning: string) {
  return { operands, result, attributes, meaning, pure: false } as const;
}

/** Scalar ops: printed by the syntax (C, WebAssembly), the same for every ISA of that syntax. */
export const SCALAR_OPS = {
  iconst: pure([], "i32", ["value"], "value"),
  iadd: pure(["i32", "i32"], "i32", [], "a + b"),
  isub: pure(["i32", "i32"], "i32", [], "a − b"),
  imul: pure(["i32", "i32"], "i32", [], "a · b"),
  idiv: pure(["i32", "i32"], "i32", [], "a / b towards zero; b > 0"),
  irem: pure(["i32", "i32"], "i32", [], "a − b · (a / b); b > 0"),
  imin: pure(["i32", "i32"], "i32", [], "smaller, signed"),
  imax: pure(["i32", "i32"], "i32", [], "larger, signed"),
  iand: pure(["i32", "i32"], "i32", [], "bitwise and"),
  ior: pure(["i32", "i32"], "i32", [], "bitwise or"),
  ixor: pure(["i32", "i32"], "i32", [], "bitwise exclusive or"),
  ishl: pure(["i32", "i32"], "i32", [], "a · 2^b; 0 ≤ b < 32"),
  ishr: pure(["i32", "i32"], "i32", [], "unsigned a / 2^b; 0 ≤ b < 32"),
  ilt: pure(["i32", "i32"], "i32", [], "1 if a < b (signed) else 0"),
  ile: pure(["i32", "i32"], "i32", [], "1 if a ≤ b (signed) else 0"),
  ieq: pure(["i32", "i32"], "i32", [], "1 if a = b else 0"),
  iselect: pure(["i32", "i32", "i32"], "i32", [], "c ≠ 0 ? a : b, operands in the order c, a, b"),

  fconst: pure([], "f32", ["value"], "value, rounded to f32"),
  fadd: pure(["f32", "f32"], "f32", [], "a + b"),
  fsub: pure(["f32", "f32"], "f32", [], "a − b"),
  fmul: pure(["f32", "f32"], "f32", [], "a · b"),
  fdiv: pure(["f32", "f32"], "f32", [], "a / b"),
  fsqrt: pure(["f32"], "f32", [], "square root"),
  fmin: pure(["f32", "f32"], "f32", [], "a < b ? a : b"),
  fmax: pure(["f32", "f32"], "f32", [], "a > b ? a : b"),
  flt: pure(["f32", "f32"], "i32", [], "1 if a < b else 0 (0 if either is NaN)"),
  fselect: pure(["i32", "f32", "f32"], "f32", [], "c ≠ 0 ? a : b, operands in the order c, a, b"),
  itof: pure(["i32"], "f32", [], "i32 → f32, nearest even"),
  ftobits: pure(["f32"], "i32", [], "the bits of an f32"),
  bitstof: pure(["i32"], "f32", [], "the f32 with these bits"),

  addr: pure(
    ["ptr", "i32"],
    "ptr",
    ["stride", "offset"],
    "p + i · stride + offset, computed in the width of an address",
  ),
  addrv: pure(["ptr", "i32", "i32"], "ptr", [], "p + i · stride, stride a run-time i32 ≥ 0, address width"),
  iload: effect(["ptr"], "i32", ["offset"], "i32 at p + offset"),
  istore: effect(["ptr", "i32"], null, ["offset"], "i32 at p + offset ← a"),
  fload: effect(["ptr"], "f32", ["offset"], "f32 at p + offset"),
  fstore: effect(["ptr", "f32"], null, ["offset"], "f32 at p + offset ← a"),
  u8load: effect(["ptr"], "i32", ["offset"], "byte at p + offset, zero-extended"),
  u8store: effect(["ptr", "i32"], null, ["offset"], "byte at p + offset ← low 8 bits of a"),
  u16load: effect(["ptr"], "i32", ["offset"], "16 bits at p + offset, zero-extended"),
  u16store: effect(["ptr", "i32"], null, ["offset"], "16 bits at p + offset ← low 16 bits of a"),
  barrier: effect([], null, [], "every thread of the team arrives before any goes on; memory is consistent"),
  atomicadd: effect(
    ["ptr", "i32"],
    "i32",
    ["offset"],
    "i32 at p + offset, a multiple of 4, += a in one step; the value before",
  ),
  touch: effect(["ptr"], null, ["offset"], "the byte at p + offset is read, and with it its cache line"),
  prefetch: effect(
    ["ptr"],
    null,
    ["offset", "level"],
    "hint: the cache line at p + offset is read soon, bring it to the cache of this level (1, 2); never faults",
  ),
} as const satisfies Record<string, OpSpec>;

/** Vector ops: one row per op in every ISA table. Comparison and select are per lane. */
export const VECTOR_OPS = {
  vfsplat: pure(["f32"], "vf32", [], "a in every lane"),
  visplat: pure(["i32"], "vi32", [], "a in every lane"),
  vfconst: pure([], "vf32", ["value"], "value, rounded to f32, in every lane"),
  viconst: pure([], "vi32", ["value"], "value in every lane"),
  viota: pure([], "vi32", [], "0, 1, …, L−1"),

  vfload: effect(["ptr"], "vf32", ["offset"], "L f32"),
  vfstore: effect(["ptr", "vf32"], null, ["offset"], "L f32"),
  vfloadn: effect(["ptr", "i32"], "vf32", ["offset"], "the first n (0 ≤ n ≤ L) f32, 0 in the other lanes"),
  vfstoren: effect(
    ["ptr", "i32", "vf32"],
    null,
    ["offset"],
    "lanes 0 … n−1 (0 ≤ n ≤ L); no other byte written",
  ),
  vhload: effect(["ptr"], "vf32", ["offset"], "L binary16, converted exactly"),
  vhstore: effect(["ptr", "vf32"], null, ["offset"], "L binary16, rounded to nearest even"),
  vbfload: effect(["ptr"], "vf32", ["offset"], "L bfloat16, converted exactly"),
  viload: effect(["ptr"], "vi32", ["offset"], "L i32"),
  vistore: effect(["ptr", "vi32"], null, ["offset"], "L i32"),
  vu8loadlanes: effect(["ptr"], "vi32", ["offset"], "L bytes, zero-extended, one per lane"),
  vi8loadlanes: effect(["ptr"], "vi32", ["offset"], "L bytes, sign-extended, one per lane"),
  vi8loadpairs: effect(
    ["ptr"],
    "vi32",
    ["offset"],
    "2L bytes, sign-extended to 16 bits, two per lane, the first in the low half",
  ),
  vu8loadpairs: effect(
    ["ptr"],
    "vi32",
    ["offset", "shift", "mask"],
    "of 2L bytes (byte >> shift) & mask, in 16 bits, two per lane, the first in the low half; 0 < mask < 2^(8 − shift)",
  ),
  vi8storelanes: effect(["ptr", "vi32"], null, ["offset"], "L bytes: each lane, which is in −128 … 127"),
  vu16storelanes: effect(["ptr", "vi32"], null, ["offset"], "L 16-bit words: the low 16 bits of each lane"),
  vu8load: effect(["ptr"], "vu8", ["offset", "bits"], "4L bytes, each below 2^bits"),
  vu8store: effect(["ptr", "vu8"], null, ["offset"], "4L bytes"),
  vbroadcast4: effect(
    ["ptr"],
    "vi8",
    ["offset"],
    "the four bytes at p + offset, b0 … b3, placed so that dot feeds b0 … b3 in this order to every lane",
  ),
  vu8table: effect(["ptr"], "vu8", ["offset"], "the 16 bytes at p + offset, in every 16 bytes"),
  vigather: effect(["ptr", "vi32"], "vi32", [], "per lane, the i32 at p + offset of the lane (bytes, ≥ 0)"),

  vfadd: pure(["vf32", "vf32"], "vf32", [], "a + b"),
  vfsub: pure(["vf32", "vf32"], "vf32", [], "a − b"),
  vfmul: pure(["vf32", "vf32"], "vf32", [], "a · b"),
  vfdiv: pure(["vf32", "vf32"], "vf32", [], "a / b"),
  vfma: pure(
    ["vf32", "vf32", "vf32"],
    "vf32",
    [],
    "a · b + c; one rounding if the target is fused, else two",
  ),
  vfmin: pure(["vf32", "vf32"], "vf32", [], "a < b ? a : b"),
  vfmax: pure(["vf32", "vf32"], "vf32", [], "a > b ? a : b"),
  vfabs: pure(["vf32"], "vf32", [], "sign bit cleared"),
  vfsqrt: pure(["vf32"], "vf32", [], "square root"),
  vftoi: pure(["vf32"], "vi32", [], "nearest integer, ties to even; |a| < 2^31"),
  vitof: pure(["vi32"], "vf32", [], "i32 → f32, nearest even"),
  vftobits: pure(["vf32"], "vi32", [], "the bits of each lane"),
  vbitstof: pure(["vi32"], "vf32", [], "the f32 with these bits"),

  viadd: pure(["vi32", "vi32"], "vi32", [], "a + b"),
  visub: pure(["vi32", "vi32"], "vi32", [], "a − b"),
  vimul: pure(["vi32", "vi32"], "vi32", [], "a · b, low 32 bits"),
  vipairdot: pure(
    ["vi32", "vi32", "vi32"],
    "vi32",
    [],
    "low 32 bits of a₀ · b₀ + a₁ · b₁ + c, where a₀ and a₁ are the signed low and high 16 bits of a, and so b",
  ),
  vipairadd: pure(["vi32", "vi32"], "vi32", [], "per 16 bits a + b, low 16 bits"),
  vipairlookup: pure(
    ["vi32", "vi32"],
    "vi32",
    [],
    "per 16 bits b, number b mod 2L of the 2L 16-bit words of a, in memory's order",
  ),
  vipairlookup2: pure(
    ["vi32", "vi32", "vi32"],
    "vi32",
    [],
    "per 16 bits c, number c mod 4L of the 16-bit words of a and then b",
  ),
  viand: pure(["vi32", "vi32"], "vi32", [], "bitwise and"),
  vior: pure(["vi32", "vi32"], "vi32", [], "bitwise or"),
  vixor: pure(["vi32", "vi32"], "vi32", [], "bitwise exclusive or"),
  vishl: pure(["vi32"], "vi32", ["count"], "a · 2^count; 0 ≤ count < 32"),
  vishr: pure(["vi32"], "vi32", ["count"], "unsigned a / 2^count; 0 ≤ count < 32"),

  vflt: pure(["vf32", "vf32"], "vmask", [], "a < b, false if either is NaN"),
  vilt: pure(["vi32", "vi32"], "vmask", [], "a < b, signed"),
  vieq: pure(["vi32", "vi32"], "vmask", [], "a = b"),
  vfselect: pure(["vmask", "vf32", "vf32"], "vf32", [], "m ? a : b"),
  viselect: pure(["vmask", "vi32", "vi32"], "vi32", [], "m ? a : b"),
  vfpermute: pure(["vf32"], "vf32", ["lanes"], "lane i ← lane lanes[i] of a"),

  vfield: pure(["vu8"], "vu8", ["shift", "mask"], "per byte (a >> shift) & mask; 0 < mask < 2^(8 − shift)"),
  vu8flip: pure(["vu8"], "vu8", [], "per byte a exclusive or 128"),
  vu8mean: pure(["vu8", "vu8"], "vu8", [], "per byte (a + b + 1) / 2, rounded down"),
  vu8add: pure(["vu8", "vu8"], "vu8", [], "per byte a + b, low 8 bits"),
  vu8lookup: pure(["vu8", "vu8"], "vu8", [], "per byte the b-th of its 16 bytes of a; b below 16"),
  vlookup: pure(["vu8"], "vu8", ["table"], "per byte table[a], of at most 16 bytes; a below their number"),
  vbyteof: pure(
    ["vu8"],
    "vi32",
    ["index"],
    "per lane, the index-th (0 … 3) of the bytes that dot feeds to it",
  ),
  vbytejoin: pure(
    ["vu8", "vu8"],
    "vi32",
    ["index", "shift"],
    "per lane, of the index-th (0 … 3) of the bytes that dot feeds to it: a + b · 2^shift, b in two's complement",
  ),
  vbytes: pure(
    ["vi32"],
    "vu8",
    ["bits"],
    "the byte view of a: byte i of lane j goes where dot looks for the i-th byte of lane j; each below 2^bits",
  ),

  vsumjoin: pure(
    ["vsum", "vsum"],
    "vsum",
    ["shift"],
    "a + b / 2^shift, where all codes of b are multiples of 2^shift: neither can be used any more",
  ),
  vsumpair: pure(
    ["vsum", "vsum"],
    "vi32",
    ["shift"],
    "the low 16 bits of sum a, and above them bits shift … shift + 15 of sum b: both are closed; 0 ≤ shift < 8",
  ),

  vfsum: pure(
    ["vf32"],
    "f32",
    [],
    "sum of the lanes by halving: lane i + lane i + L/2, then L/4, …, in this order on every target",
  ),
  vfmaxlane: pure(["vf32"], "f32", [], "largest lane; no NaN among them"),
  visum: pure(["vi32"], "i32", [], "sum of the lanes"),
} as const satisfies Record<string, OpSpec>;

/**
 * A chain of `dot` or `dot8` links, then closed, so that a target may add products in 16 bits before it widens them:
 * lane ← acc + Σ_n Σ_i w_n[dotByte(lane, i)] · x_n[dotByte(lane, i)], exactly.
 * `dot` needs codes of at most 7 bits. `dot8` takes any bytes: as u8, or in two's complement where the target's
 * `dot8Offset` is 128. `dot8n` is the same for bytes that can be negated: none of them is −128 then.
 */
export const DOT_OPS = ["dot", "dot8", "dot8n"] as const;
export type DotOpName = (typeof DOT_OPS)[number];

export const OPS = { ...SCALAR_OPS, ...VECTOR_OPS };
export type ScalarOpName = keyof typeof SCALAR_OPS;
export type VectorOpName = keyof typeof VECTOR_OPS;
export type OpName = ScalarOpName | VectorOpName;

/** Ops that an instruction set may lack; generated where its `signs` ask for them. */
export const OPTIONAL_OPS = ["vipairlookup", "vipairlookup2"] as const satisfies VectorOpName[];
export type OptionalOpName = (typeof OPTIONAL_OPS)[number];

/** Range in bits of a `vu8` result: from an attribute, or from the operands. */
export function resultBits(
  op: OpName,
  operandBits: readonly (number | undefined)[],
  attributes: Readonly<Record<string, number | readonly number[]>>,
): number {
  switch (op) {
    case "vfield":
      return 32 - Math.clz32(attributes.mask as number);
    case "vu8mean":
      return Math.max(operandBits[0] ?? 8, operandBits[1] ?? 8);
    case "vlookup":
      return 32 - Math.clz32(Math.max(...(attributes.table as readonly number[])));
    case "vu8load":
    case "vbytes":
      return attributes.bits as number;
    default:
      return 8;
  }
}
