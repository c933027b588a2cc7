import { alignUp } from "../base/bytes.ts";
import { CHUNK, chunkCount, type Format, groupSize, isPaired, isSigns } from "../quant/formats.ts";

/**
 * How a projection sees its input. `int8`: codes with one f32 scale per `block` inputs (`"row"`: one for all).
 * `f32`: the values themselves (the accuracy reference, and the only choice for float weights).
 */
export type Activations =
  | { readonly kind: "int8"; readonly block: number | "row" }
  | { readonly kind: "f32" };

/**
 * One row of prepared activations: the values (int8 codes or f32, padded with zeros to whole chunks), the scales of
 * its blocks (f32), and Σ of the values of every segment (i32, i16 where groups of weights are paired, or f32) for the
 * factored zero point. For int8 and weights that are signs, also the sums of every four inputs with every choice of signs:
 * what a projection looks up (`TABLE_BYTES`).
 */
export interface ActivationLayout {
  readonly activations: Activations;
  readonly cols: number;
  /** Inputs with one activation scale. */
  readonly block: number;
  /** Inputs that share the weight scale and the activation scale: what is summed before scaling. */
  readonly segment: number;
  readonly blocks: number;
  readonly segments: number;
  readonly scalesAt: number;
  readonly sumsAt: number;
  /** Bytes of the Σ of a segment. */
  readonly sumBytes: 2 | 4;
  /** Where tables of sums start; undefined where there are none. */
  readonly tablesAt: number | undefined;
  /** What a projection reads of an input, its value or tables: where the first input's is, and bytes to the next one's. */
  readonly inputsAt: number;
  readonly inputBytes: number;
  /** Bytes from one row to the next, a multiple of 64. */
  readonly rowBytes: number;
}

/**
 * The tables of four inputs: for each of 16 codes, whose bit i is the sign of input i, the sum in two parts: s mod 32, then
 * ⌊s / 32⌋ in two's complement. |s| is at most 4 · 127, so that 8 of each part add up in a byte: 8 · 31 and 8 · (−16 … 15).
 */
export const TABLE_BYTES = 32;
/** Bits of the first part of a sum, and bytes from a table to that of the second part. */
export const TABLE_PART = { bits: 5, bytes: 16 } as const;

/** Bytes of a cache line, at which rows and tables begin. */
const ROW_ALIGNMENT = 64;
/** Rows of f32 activations are padded to this many values; the padding is zero and stays zero. */
export const ROW_PADDING = 128;

/** Values from one f32 row of `cols` values to the next. */
export function paddedCols(cols: number): number {
  return Math.ceil(cols / ROW_PADDING) * ROW_PADDING;
}

/**
 * Whether weight groups of `group` and activation blocks of `block` inputs nest, so that every segment has one scale of
 * each kind.
 */
export function nests(group: number, block: number, cols: number): boolean {
  const [small, large] = [Math.min(group, block, cols), Math.max(group, block)];
  return large >= cols || large % small === 0;
}

/** Layout of the prepared activations that a projection with this weight format reads. */
export function activationLayout(activations: Activations, format: Format, cols: number): ActivationLayout {
  const group = format.kind === "quantized" ? groupSize(format, cols) : cols;
  const block =
    activations.kind === "f32" || activations.block === "row" ? cols : Math.min(activations.block, cols);
  const segment = activations.kind === "f32" ? Math.min(group, cols) : Math.min(group, block);
  const padded = chunkCount(cols) * CHUNK;
  const blocks = activations.kind === "f32" ? 0 : Math.ceil(cols / block);
  const segments = Math.ceil(cols / segment);
  const valueBytes = activations.kind === "int8" ? 1 : 4;
  const scalesAt = padded * valueBytes;
  const sumsAt = scalesAt + 4 * blocks;
  const sumBytes = activations.kind === "int8" && isPaired(format) ? 2 : 4;
  const end = alignUp(sumsAt + sumBytes * segments, ROW_ALIGNMENT);
  const hasTables = activations.kind === "int8" && isSigns(format);
  return {
    activations,
    cols,
    block,
    segment,
    blocks,
    segments,
    scalesAt,
    sumsAt,
    sumBytes,
    ...(hasTables
      ? {
          tablesAt: end,
          inputsAt: end,
          inputBytes: TABLE_BYTES / 4,
          rowBytes: end + (TABLE_BYTES / 4) * padded,
        }
      : { tablesAt: undefined, inputsAt: 0, inputBytes: valueBytes, rowBytes: end }),
  };
}

/** Two projections may share prepared activations when their layouts have the same key. */
export function activationKey(layout: ActivationLayout): string {
  const { activations, cols, block, segment, sumBytes, tablesAt } = layout;
  const with16 = sumBytes === 2 ? "_i16" : "";
  return `${activations.kind}_c${cols}_b${block}_s${segment}${with16}${tablesAt === undefined ? "" : "_tables"}`;
}
