import { alignUp } from "../base/bytes.ts";
import type { SignWords, Target } from "../ir/types.ts";
import { CHUNK, chunkCount, type Format, groupSize, isPaired, isSigns } from "../quant/formats.ts";
import { inputTableBytes } from "../quant/sign-words.ts";
import { nameOfNumber } from "./work.ts";

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
 * factored zero point. For int8 and weights that are signs, also what a projection looks up: for the inputs of every field
 * of a word (`SignWords`) a table of their sums with every choice of signs, by the code whose bit i is the sign of input i.
 * Words of 16 bits have tables of i16; words of 8 bits two tables of bytes (`TABLE_PART`).
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
  /** What it is multiplied by: of paired groups with a constant zero point, by −zero. */
  readonly sumFactor: number;
  /** What the tables of sums are for; undefined where there are none. */
  readonly signs: SignWords | undefined;
  /** What a projection reads of an input, its value or tables: where the first input's is, and bytes to the next one's. */
  readonly inputsAt: number;
  readonly inputBytes: number;
  /** Bytes from one row to the next, a multiple of 64. */
  readonly rowBytes: number;
}

/**
 * Sums of four inputs in two parts: s mod 32, then ⌊s / 32⌋ in two's complement. |s| is at most 4 · 127, so that 8 of each
 * part add up in a byte: 8 · 31 and 8 · (−16 … 15). Bits of the first part, and bytes from its table to the other part's.
 */
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
export function activationLayout(
  activations: Activations,
  format: Format,
  cols: number,
  target: Pick<Target, "signs">,
): ActivationLayout {
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
  const sumFactor =
    sumBytes === 2 && isPaired(format) && format.zero.kind === "constant" ? -format.zero.value : 1;
  const end = alignUp(sumsAt + sumBytes * segments, ROW_ALIGNMENT);
  const signs = activations.kind === "int8" && isSigns(format) ? target.signs : undefined;
  const tables = signs === undefined ? 0 : inputTableBytes(signs);
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
    sumFactor,
    signs,
    inputsAt: signs === undefined ? 0 : end,
    inputBytes: signs === undefined ? valueBytes : tables,
    rowBytes: end + tables * padded,
  };
}

/** Two projections may share prepared activations when their layouts have the same key. */
export function activationKey(layout: ActivationLayout): string {
  const { activations, cols, block, segment, sumBytes, sumFactor, signs } = layout;
  const with16 = sumBytes === 2 ? `_i16${sumFactor === 1 ? "" : `x${nameOfNumber(sumFactor)}`}` : "";
  return `${activations.kind}_c${cols}_b${block}_s${segment}${with16}${signs === undefined ? "" : "_tables"}`;
}
