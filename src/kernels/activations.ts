import { CHUNK, chunkCount, type Format, groupSize, isPaired } from "../quant/formats.ts";

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
 * factored zero point.
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
  /** Bytes from one row to the next, a multiple of 64. */
  readonly rowBytes: number;
}

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
  const scalesAt = padded * (activations.kind === "int8" ? 1 : 4);
  const sumsAt = scalesAt + 4 * blocks;
  const sumBytes = activations.kind === "int8" && isPaired(format) ? 2 : 4;
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
    rowBytes: Math.ceil((sumsAt + sumBytes * segments) / 64) * 64,
  };
}

/** Two projections may share prepared activations when their layouts have the same key. */
export function activationKey(layout: ActivationLayout): string {
  const { activations, cols, block, segment, sumBytes } = layout;
  return `${activations.kind}_c${cols}_b${block}_s${segment}${sumBytes === 2 ? "_i16" : ""}`;
}
