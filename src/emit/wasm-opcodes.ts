/** What follows an opcode: in the text, tokens; in the binary, their encoding. */
export type Immediate =
  | "none"
  | "local" // $name
  | "label" // $name or depth
  | "block" // [$label] [(result type)]
  | "type" // (type $name), for call_indirect
  | "memory" // [offset=n]
  | "memoryLane" // [offset=n] lane
  | "lane"
  | "shuffle" // 16 byte indexes
  | "i32"
  | "f32"
  | "v128"; // shape and values

export interface Opcode {
  /** Encoded, prefix included. */
  readonly bytes: readonly number[];
  readonly immediate: Immediate;
  /** log2 of the bytes a memory instruction accesses, its natural alignment. */
  readonly alignment: number;
}

/** Number types and what encodes them. */
export const VALUE_TYPES: Readonly<Record<string, number>> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };

const CONTROL: Readonly<Record<string, readonly [number, Immediate]>> = {
  block: [0x02, "block"],
  loop: [0x03, "block"],
  if: [0x04, "block"],
  else: [0x05, "none"],
  end: [0x0b, "none"],
  br: [0x0c, "label"],
  br_if: [0x0d, "label"],
  call_indirect: [0x11, "type"],
  drop: [0x1a, "none"],
  select: [0x1b, "none"],
  "local.get": [0x20, "local"],
  "local.set": [0x21, "local"],
  "local.tee": [0x22, "local"],
  "i32.const": [0x41, "i32"],
  "f32.const": [0x43, "f32"],
};

/** Consecutive opcodes from `first`; `-` leaves one out. */
function run(first: number, prefix: string, names: string): [string, number][] {
  return names
    .split(" ")
    .map((name, i): [string, number] => [name.includes(".") ? name : `${prefix}.${name}`, first + i])
    .filter(([name]) => !name.endsWith(".-"));
}

const SCALAR = [
  ...run(0x28, "i32", "load - f32.load - load8_s load8_u load16_s load16_u"),
  ...run(0x36, "i32", "store - f32.store - store8 store16"),
  ...run(0x45, "i32", "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
  ...run(0x5b, "f32", "eq ne lt gt le ge"),
  ...run(0x67, "i32", "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u"),
  ...run(0x8b, "f32", "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign"),
  ...run(0xb2, "f32", "convert_i32_s convert_i32_u"),
  ...run(0xbc, "i32", "reinterpret_f32 - f32.reinterpret_i32"),
];

const comparisons = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const widened = (from: string) =>
  `extend_low_${from}_s extend_high_${from}_s extend_low_${from}_u extend_high_${from}_u`;
const products = (from: string) =>
  `extmul_low_${from}_s extmul_high_${from}_s extmul_low_${from}_u extmul_high_${from}_u`;

/** Prefix 0xfd. The 64-bit shapes are left out: the IR has none. */
const SIMD = [
  ...run(0x00, "v128", "load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u"),
  ...run(0x07, "v128", "load8_splat load16_splat load32_splat load64_splat store const"),
  ...run(0x0d, "i8x16", "shuffle swizzle splat i16x8.splat i32x4.splat - f32x4.splat"),
  ...run(0x15, "i8x16", "extract_lane_s extract_lane_u replace_lane"),
  ...run(0x18, "i16x8", "extract_lane_s extract_lane_u replace_lane"),
  ...run(0x1b, "i32x4", "extract_lane replace_lane - - f32x4.extract_lane f32x4.replace_lane"),
  ...run(0x23, "i8x16", comparisons),
  ...run(0x2d, "i16x8", comparisons),
  ...run(0x37, "i32x4", comparisons),
  ...run(0x41, "f32x4", "eq ne lt gt le ge"),
  ...run(0x4d, "v128", "not and andnot or xor bitselect any_true"),
  ...run(0x54, "v128", "load8_lane load16_lane load32_lane load64_lane"),
  ...run(0x58, "v128", "store8_lane store16_lane store32_lane store64_lane load32_zero load64_zero"),
  ...run(0x60, "i8x16", "abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u"),
  ...run(0x67, "f32x4", "ceil floor trunc nearest"),
  ...run(0x6b, "i8x16", "shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"),
  ...run(0x76, "i8x16", "min_s min_u max_s max_u - avgr_u"),
  ...run(0x7c, "i16x8", "extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u"),
  ...run(0x7e, "i32x4", "extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u"),
  ...run(0x80, "i16x8", "abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u"),
  ...run(
    0x87,
    "i16x8",
    `${widened("i8x16")} shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u`,
  ),
  ...run(0x95, "i16x8", `mul min_s min_u max_s max_u - avgr_u ${products("i8x16")}`),
  ...run(0xa0, "i32x4", `abs neg - all_true bitmask - - ${widened("i16x8")} shl shr_s shr_u add`),
  ...run(0xb1, "i32x4", `sub - - - mul min_s min_u max_s max_u dot_i16x8_s - ${products("i16x8")}`),
  ...run(0xe0, "f32x4", "abs neg - sqrt add sub mul div min max pmin pmax"),
  ...run(0xf8, "i32x4", "trunc_sat_f32x4_s trunc_sat_f32x4_u"),
  ...run(0xfa, "f32x4", "convert_i32x4_s convert_i32x4_u"),
];

/** Prefix 0xfe. */
const ATOMIC: [string, number][] = [
  ["i32.atomic.load", 0x10],
  ["i32.atomic.store", 0x17],
  ["i32.atomic.rmw.add", 0x1e],
];

function accessBits(name: string): number {
  const [, width, count] = /\.(?:load|store)(\d+)(?:x(\d+))?/.exec(name) ?? [];
  if (width === undefined) return name.startsWith("v128") ? 128 : 32;
  return Number(width) * Number(count ?? 1);
}

function opcode(name: string, bytes: readonly number[]): Opcode {
  const isMemory = /\.(load|store|atomic)/.test(name);
  const alignment = isMemory ? Math.log2(accessBits(name) / 8) : 0;
  const hasLane = /_lane(_[su])?$/.test(name);
  if (isMemory) return { bytes, immediate: hasLane ? "memoryLane" : "memory", alignment };
  if (hasLane) return { bytes, immediate: "lane", alignment };
  if (name === "v128.const") return { bytes, immediate: "v128", alignment };
  return { bytes, immediate: name === "i8x16.shuffle" ? "shuffle" : "none", alignment };
}

/** LEB128 of an opcode after its prefix byte; all are below 2^14. */
function prefixed(prefix: number, code: number): number[] {
  return code < 128 ? [prefix, code] : [prefix, (code & 127) | 128, code >> 7];
}

/** Every instruction of the dialect that `wasm-assembler.ts` accepts. */
export const OPCODES: ReadonlyMap<string, Opcode> = new Map([
  ...Object.entries(CONTROL).map(
    ([name, [code, immediate]]) => [name, { bytes: [code], immediate, alignment: 0 }] as const,
  ),
  ...SCALAR.map(([name, code]) => [name, opcode(name, [code])] as const),
  ...SIMD.map(([name, code]) => [name, opcode(name, prefixed(0xfd, code))] as const),
  ...ATOMIC.map(([name, code]) => [name, opcode(name, prefixed(0xfe, code))] as const),
]);
