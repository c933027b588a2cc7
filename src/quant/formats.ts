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
 * How a code becomes a weight, with the group's f16 scale s:
 * `constant`: w = s · (q − value). `code`: w = s · (q − z), z one integer (u8) per group. `minimum`: w = s · q + m, m f16.
 */
export type Zero =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "code" }
  | { readonly kind: "minimum" };

/** Groups of codes that share a scale (and a zero point or minimum). */
export interface QuantizedFormat {
  readonly kind: "quantized";
  readonly name: string;
  /** Code width. */
  readonly bits: number;
  /** Consecutive weights of a row that share a scale, a multiple of CHUNK; `"row"`: the whole row. */
  readonly group: number | "row";
  readonly zero: Zero;
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

/** The formats of GGUF files that have kernels; names are GGUF's. */
const GGUF_FORMATS: readonly Format[] = [
  float("F32", "f32", 4),
  float("F16", "f16", 2),
  float("BF16", "bf16", 2),
  {
    kind: "quantized",
    name: "Q4_0",
    bits: 4,
    group: 32,
    zero: { kind: "constant", value: 8 },
    signedCodes: false,
  },
  {
    kind: "quantized",
    name: "Q4_1",
    bits: 4,
    group: 32,
    zero: { kind: "minimum" },
    signedCodes: false,
  },
  {
    kind: "quantized",
    name: "Q8_0",
    bits: 8,
    group: 32,
    zero: { kind: "constant", value: 128 },
    signedCodes: true,
  },
];

/** Code widths and group sizes of the paper's own family. */
export const FAMILY_BITS = [2, 3, 4, 8] as const;
export const FAMILY_GROUPS = [32, 64, 128, "row"] as const;

/**
 * The paper's family: `4bit-g128` has an integer zero point per group, `4bit-g128-sym` the constant 2^(bits−1);
 * `4bit-row` one group for the whole row.
 */
export function familyFormat(bits: number, group: number | "row", symmetric: boolean): QuantizedFormat {
  const isKnown = FAMILY_BITS.some((known) => known === bits);
  if (!isKnown || !(group === "row" || (group >= CHUNK && group % CHUNK === 0))) {
    throw new UnsupportedError(`no format with ${bits} bits and group size ${group}`);
  }
  return {
    kind: "quantized",
    name: `${bits}bit-${group === "row" ? "row" : `g${group}`}${symmetric ? "-sym" : ""}`,
    bits,
    group,
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

/** Chunks of a row: every group starts a chunk, and the last chunk of a row may have padding inputs. */
export function chunkCount(cols: number): number {
  return Math.ceil(cols / CHUNK);
}

/**
 * Row-major blocks as they stand in a file: per group f16 scale, f16 minimum or u8 zero, then the codes, chunk after chunk.
 * For Q4_0, Q4_1 and Q8_0 these are GGUF's blocks (18, 20 and 34 bytes).
 */
export interface BlockLayout {
  /** Offset of the minimum or zero in a block; the scale is at 0. */
  readonly zeroAt: number;
  /** Offset of the codes in a block. */
  readonly codesAt: number;
  /** Bytes of the codes of a chunk. */
  readonly chunkBytes: number;
  /** Bytes of a whole group's block. */
  readonly blockBytes: number;
  /** Bytes of a row, the last block possibly shorter. */
  readonly rowBytes: number;
}

/** Layout of a row of `cols` weights in row-major blocks. */
export function blockLayout(format: QuantizedFormat, cols: number): BlockLayout {
  const zeroBytes = format.zero.kind === "minimum" ? 2 : format.zero.kind === "code" ? 1 : 0;
  const codesAt = 2 + zeroBytes;
  const chunkBytes = (CHUNK / 8) * format.bits;
  const groups = groupCount(format, cols);
  return {
    zeroAt: 2,
    codesAt,
    chunkBytes,
    blockBytes: codesAt + Math.ceil(groupSize(format, cols) / CHUNK) * chunkBytes,
    rowBytes: groups * codesAt + chunkCount(cols) * chunkBytes,
  };
}

/** Bytes of a row of `cols` weights as it stands in a file. */
export function rowBytes(format: Format, cols: number): number {
  return format.kind === "float" ? cols * format.bytes : blockLayout(format, cols).rowBytes;
}

/** Bits per weight that a format's own definition needs (scales and zeros included), for rows of `cols` weights. */
export function bitsPerWeight(format: Format, cols: number): number {
  return (8 * rowBytes(format, cols)) / cols;
}
