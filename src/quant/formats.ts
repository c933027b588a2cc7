import { UnsupportedError } from "../base/errors.ts";

/** Weights stored as floats, one after the other. */
export interface FloatFormat {
  readonly kind: "float";
  readonly name: string;
  readonly element: "f32" | "f16" | "bf16";
  /** Bytes of one weight. */
  readonly bytes: 2 | 4;
}

/**
 * Integers of the groups of a block. Packed, the bits of an integer are divided into `widths`, low bits first; those of
 * one width stand group after group, dense in bytes; of 6 bits, of paired groups only, see `groupFields`.
 */
export interface GroupCodes {
  readonly widths: readonly (2 | 4 | 6 | 8)[];
  /** What the stored integer counts in: 1, or 2 where all are odd. */
  readonly step: 1 | 2;
  /** Subtracted. */
  readonly offset: number;
  /** Two's complement, of 8 bits. */
  readonly signed: boolean;
}

/** What packing subtracts already, which leaves two's complement; of what counts in twos, nothing. */
export function packedOffset({ step, offset }: GroupCodes): number {
  return step === 1 ? offset : 0;
}

/** Whether packed integers are in two's complement. */
export function isSigned(codes: GroupCodes): boolean {
  return codes.signed || packedOffset(codes) !== 0;
}

/**
 * The scale s of a group. `half`: an f16. `product`: an f16 of the block times an integer of the group, and times `unit`, a
 * power of two, if there is one. `exponent`: a byte e for 2^(e − 128), 0 for 0 (E8M0, halved; 255 is not finite).
 * `minifloat`: a byte with 4 bits of exponent and 3 of mantissa, no sign (UE4M3, halved).
 */
export type Scale =
  | { readonly kind: "half" | "exponent" | "minifloat" }
  | { readonly kind: "product"; readonly codes: GroupCodes; readonly unit?: number };

/**
 * How a value q becomes a weight, with the group's scale s:
 * `constant`: w = s · (q − value). `code`: w = s · (q − z), z one integer (u8) per group. `minimum`: w = s · q + m, m f16.
 * `product`: w = s · q − m, m an f16 of the block times an integer of the group.
 */
export type Zero =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "code" }
  | { readonly kind: "minimum" }
  | { readonly kind: "product"; readonly codes: GroupCodes };

/** Groups of codes that share a scale (and a zero point or minimum). */
export interface QuantizedFormat {
  readonly kind: "quantized";
  readonly name: string;
  /** Code width. */
  readonly bits: number;
  /** The values that codes stand for, u8, where they are not the codes themselves. */
  readonly table?: readonly number[];
  /** Consecutive weights of a row that share a scale: a multiple of CHUNK, or 16; `"row"`: the whole row. */
  readonly group: number | "row";
  /** Consecutive weights that are stored together, whole groups and whole chunks: rows have whole blocks. Else a group. */
  readonly block?: number;
  readonly scale: Scale;
  readonly zero: Zero;
  /** Inputs per scale of int8 activations, at most, where that is fewer than a group. */
  readonly inputs?: number;
  /** Codes are stored as two's complement (GGUF's Q8_0); packing adds 2^(bits−1) so that kernels see u8. */
  readonly signedCodes: boolean;
}

/** A quantization format is data: kernels, packing, planning and the oracle read only this. */
export type Format = FloatFormat | QuantizedFormat;

/** Inputs that are stored and unpacked together (`quant/chunks.ts`). */
export const CHUNK = 32;

const float = (name: string, element: FloatFormat["element"], bytes: 2 | 4): FloatFormat => ({
  kind: "float",
  name,
  element,
  bytes,
});

type Shape = Pick<QuantizedFormat, "bits" | "group" | "zero"> & Partial<QuantizedFormat>;

const quantized = (name: string, shape: Shape): QuantizedFormat => ({
  kind: "quantized",
  name,
  scale: { kind: "half" },
  signedCodes: false,
  ...shape,
});

const constant = (value: number): Zero => ({ kind: "constant", value });

const product = (
  widths: GroupCodes["widths"],
  { step = 1, offset = 0, signed = false }: Partial<GroupCodes> = {},
): Scale & Zero => ({ kind: "product", codes: { widths, step, offset, signed } });

/** An odd number, 1 to 31. */
const ODD = product([4], { step: 2, offset: -1 });
const EIGHTHS = { scale: { ...ODD, unit: 1 / 8 } } as const;
const HALVES = { scale: { ...ODD, unit: 1 / 2 } } as const;

/** What a block of 256 weights has in common. */
const SUPER = { block: 256 } as const;

/** IQ4_NL's values, which lie closer near zero, above −128. */
const NONLINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Twice the values of E2M1. */
const E2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** A format whose codes stand for these integers. */
const tabled = (values: readonly number[], zero: number) => ({
  table: values.map((value) => value + zero),
  zero: constant(zero),
});

/** A table of values and, in its second half, their negatives: the top bit of a code is a sign. */
const withSigns = (values: readonly number[]) =>
  tabled([...values, ...values.map((value) => -value)], Math.max(...values));

/** The values of IQ2's grids; code 3 is not used. */
const IQ2 = withSigns([8, 25, 43, 0]);

/**
 * The formats of GGUF files that have kernels; names are GGUF's. `quant/blocks.ts` has how they are stored, and
 * `quant/repacking.ts` what becomes of codebook types, whose weights have codes of their own here.
 */
const GGUF_FORMATS: readonly Format[] = [
  float("F32", "f32", 4),
  float("F16", "f16", 2),
  float("BF16", "bf16", 2),
  quantized("Q1_0", { bits: 1, group: 128, inputs: 32, ...tabled([-1, 1], 1) }),
  quantized("Q2_0", { bits: 2, group: 64, inputs: 32, zero: constant(1) }),
  quantized("Q4_0", { bits: 4, group: 32, zero: constant(8) }),
  quantized("Q4_1", { bits: 4, group: 32, zero: { kind: "minimum" } }),
  quantized("Q5_0", { bits: 5, group: 32, zero: constant(16) }),
  quantized("Q5_1", { bits: 5, group: 32, zero: { kind: "minimum" } }),
  quantized("Q8_0", { bits: 8, group: 32, zero: constant(128), signedCodes: true }),
  quantized("Q2_K", { bits: 2, group: 16, ...SUPER, scale: product([4]), zero: product([4]) }),
  quantized("Q3_K", {
    bits: 3,
    group: 16,
    ...SUPER,
    scale: product([6], { offset: 32 }),
    zero: constant(4),
  }),
  quantized("Q4_K", { bits: 4, group: 32, ...SUPER, scale: product([8]), zero: product([8]) }),
  quantized("Q5_K", { bits: 5, group: 32, ...SUPER, scale: product([8]), zero: product([8]) }),
  quantized("Q6_K", {
    bits: 6,
    group: 16,
    ...SUPER,
    scale: product([8], { signed: true }),
    zero: constant(32),
  }),
  quantized("IQ4_NL", { bits: 4, group: 32, ...tabled(NONLINEAR, 128) }),
  quantized("IQ4_XS", {
    bits: 4,
    group: 32,
    ...SUPER,
    scale: product([8], { offset: 32 }),
    ...tabled(NONLINEAR, 128),
  }),
  // −1, 0 or 1 and ⅛ more or less: IQ1_S says which for a group, IQ1_M for 8 weights.
  quantized("IQ1_S", {
    bits: 2,
    group: 32,
    ...SUPER,
    ...EIGHTHS,
    table: [0, 8, 16, 8],
    zero: { kind: "code" },
  }),
  quantized("IQ1_M", {
    bits: 3,
    group: 16,
    ...SUPER,
    ...EIGHTHS,
    ...tabled([-7, 1, 9, 0, -9, -1, 7, 0], 9),
  }),
  quantized("IQ2_XXS", { bits: 3, group: 32, ...SUPER, ...EIGHTHS, ...IQ2 }),
  quantized("IQ2_XS", { bits: 3, group: 16, ...SUPER, ...EIGHTHS, ...IQ2 }),
  quantized("IQ2_S", { bits: 3, group: 16, ...SUPER, ...EIGHTHS, ...IQ2 }),
  // Half the values of its grid.
  quantized("IQ3_XXS", {
    bits: 4,
    group: 32,
    ...SUPER,
    ...HALVES,
    ...withSigns([2, 6, 10, 14, 18, 22, 26, 31]),
  }),
  quantized("IQ3_S", {
    bits: 4,
    group: 32,
    ...SUPER,
    scale: ODD,
    ...withSigns([1, 3, 5, 7, 9, 11, 13, 15]),
  }),
  quantized("TQ1_0", { bits: 2, group: 256, zero: constant(1) }),
  quantized("TQ2_0", { bits: 2, group: 256, zero: constant(1) }),
  quantized("MXFP4", { bits: 4, group: 32, scale: { kind: "exponent" }, ...tabled(E2M1, 12) }),
  quantized("NVFP4", { bits: 4, group: 16, block: 64, scale: { kind: "minifloat" }, ...tabled(E2M1, 12) }),
];

/** Code widths and group sizes of the paper's own family. */
export const FAMILY_BITS = [2, 3, 4, 8] as const;
export const FAMILY_GROUPS = [16, 32, 64, 128, "row"] as const;

/** Whether a group is a part of a chunk, of which there are whole ones then. */
const isHalfChunk = (group: number | "row") => group !== "row" && 2 * group === CHUNK;

/**
 * The paper's family: `4bit-g128` has an integer zero point per group, `4bit-g128-sym` the constant 2^(bits−1);
 * `4bit-row` one group for the whole row. Groups of 16 come in pairs.
 */
export function familyFormat(bits: number, group: number | "row", symmetric: boolean): QuantizedFormat {
  const isKnown = FAMILY_BITS.some((known) => known === bits);
  if (!isKnown || !(group === "row" || isHalfChunk(group) || (group >= CHUNK && group % CHUNK === 0))) {
    throw new UnsupportedError(`no format with ${bits} bits and group size ${group}`);
  }
  return {
    kind: "quantized",
    scale: { kind: "half" },
    name: `${bits}bit-${group === "row" ? "row" : `g${group}`}${symmetric ? "-sym" : ""}`,
    bits,
    group,
    ...(isHalfChunk(group) ? { block: CHUNK } : {}),
    zero: symmetric ? { kind: "constant", value: 2 ** (bits - 1) } : { kind: "code" },
    signedCodes: false,
  };
}

/** Every format by name. */
export const FORMATS: ReadonlyMap<string, Format> = new Map(
  [
    ...GGUF_FORMATS,
    ...FAMILY_BITS.flatMap((bits) =>
      FAMILY_GROUPS.flatMap((group) => [familyFormat(bits, group, false), familyFormat(bits, group, true)]),
    ),
  ].map((format) => [format.name, format]),
);

/** The format of this name (any case). Throws `UnsupportedError` with the known names. */
export function formatNamed(name: string): Format {
  const wanted = name.toLowerCase();
  for (const [known, format] of FORMATS) if (known.toLowerCase() === wanted) return format;
  throw new UnsupportedError(`no kernels for format ${name}; known: ${[...FORMATS.keys()].join(", ")}`);
}

/** Weights per group for rows of `cols` weights; the last group of a row may be shorter. */
export function groupSize(format: QuantizedFormat, cols: number): number {
  return format.group === "row" ? cols : format.group;
}

/** Groups of a row. */
export function groupCount(format: QuantizedFormat, cols: number): number {
  return Math.ceil(cols / groupSize(format, cols));
}

/** Weights of a block, which is a group where the format says nothing else. */
export function blockSize(format: QuantizedFormat, cols: number): number {
  return format.block ?? groupSize(format, cols);
}

/** Blocks of a row; the last one may be shorter where a block is a group. */
export function blockCount(format: QuantizedFormat, cols: number): number {
  return Math.ceil(cols / blockSize(format, cols));
}

/** Groups of a block. */
export function groupsOfBlock(format: QuantizedFormat, cols: number): number {
  return blockSize(format, cols) / groupSize(format, cols);
}

/** Bits of the values that kernels multiply. */
export function valueBits({ bits, table }: QuantizedFormat): number {
  return table === undefined ? bits : 32 - Math.clz32(Math.max(...table));
}

/** Whether weights are the scale or its negative, and a code says which: with so few values, sums can be looked up. */
export function isSigns(format: Format): format is QuantizedFormat {
  if (format.kind !== "quantized" || format.bits !== 1 || format.zero.kind !== "constant") return false;
  const { table, zero } = format;
  return table?.[0] === zero.value - 1 && table[1] === zero.value + 1;
}

/** Whether no value of 8 bits, less 128, is −128. */
export function canNegate({ table }: QuantizedFormat): boolean {
  return table !== undefined && Math.min(...table) > 0;
}

/**
 * Whether the products of a group add up to 16 bits, and scales are integers, so that one instruction multiplies two
 * groups of a chunk by their scales.
 */
export function isPaired(format: Format): format is QuantizedFormat {
  if (format.kind !== "quantized" || format.group === "row" || format.scale.kind !== "product") return false;
  if (format.scale.codes.step !== 1) return false;
  const largest = format.group * (2 ** valueBits(format) - 1) * 127;
  return 2 * format.group === CHUNK && largest < 2 ** 15;
}

/** Chunks of a row: every group starts a chunk, and the last chunk of a row may have padding inputs. */
export function chunkCount(cols: number): number {
  return Math.ceil(cols / CHUNK);
}
