/** A quantized matrix as the parameters of a GPTQ module: what `gptq.ts` reads. */

import { UnsupportedError } from "../../base/errors.ts";
import { familyFormat, groupCount, groupSize, type QuantizedFormat } from "../../quant/formats.ts";
import type { QuantizedMatrix } from "../../solver/quantized-matrix.ts";

/** Code widths that have a layout which engines agree on. */
export const GPTQ_BITS = [2, 3, 4, 8];
/** Rows and columns come in multiples of this: 32 codes fill whole words at any width. */
export const GPTQ_MULTIPLE = 32;

/**
 * The least zero point: files have zero points less one, and not all engines take the largest code for −1.
 */
export const GPTQ_LEAST_ZERO = 1;

/** Throws `UnsupportedError` for widths that GPTQ checkpoints do not have. */
export function gptqFormat(bits: number, group: number | "row", symmetric: boolean): QuantizedFormat {
  if (!GPTQ_BITS.includes(bits)) {
    throw new UnsupportedError(
      `GPTQ checkpoints have no layout for ${bits} bits that engines agree on; they have ${GPTQ_BITS.join(", ")}; GGUF files have 5 and 6, too`,
    );
  }
  return familyFormat(bits, group, symmetric);
}

export interface GptqShapes {
  readonly qweight: readonly number[];
  readonly qzeros: readonly number[];
  readonly scales: readonly number[];
  readonly g_idx: readonly number[];
}

/** Shapes of the parameters, known before the weights are: `qweight` [in · bits/32, out] and so on. */
export function gptqShapes(format: QuantizedFormat, rows: number, cols: number): GptqShapes {
  const groups = groupCount(format, cols);
  const words = (codes: number) => (codes * format.bits) / 32;
  return {
    qweight: [words(cols), rows],
    qzeros: [groups, words(rows)],
    scales: [groups, rows],
    g_idx: [cols],
  };
}

/** Bytes of the codes, zero points and scales of a module. */
export function gptqBytes(format: QuantizedFormat, rows: number, cols: number): number {
  const { qweight, qzeros, scales } = gptqShapes(format, rows, cols);
  const count = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);
  return 4 * count(qweight) + 4 * count(qzeros) + 2 * count(scales);
}

export interface GptqParameters {
  readonly qweight: Uint32Array;
  readonly qzeros: Uint32Array;
  /** f16 bits. */
  readonly scales: Uint16Array;
  readonly g_idx: Int32Array;
}

/**
 * Packs a matrix. Zero points are stored less one (the format that is called `gptq`, not `gptq_v2`).
 *
 * @param order input of each slot of the matrix; undefined where that is the slot
 * @param rowOf the row of the matrix that each output of the module is
 */
export function gptqParameters(
  matrix: QuantizedMatrix,
  order: Uint32Array | undefined,
  rowOf: Uint32Array,
): GptqParameters {
  const { format, rows, cols, groups } = matrix;
  const { bits } = format;
  const size = groupSize(format, cols);
  const slotOf = new Uint32Array(cols);
  for (let slot = 0; slot < cols; slot++) slotOf[order?.[slot] ?? slot] = slot;
  const qweight = new Uint32Array((cols * bits * rows) / 32);
  const qzeros = new Uint32Array((groups * rows * bits) / 32);
  const scales = new Uint16Array(groups * rows);
  const mask = 2 ** bits - 1;
  for (let r = 0; r < rows; r++) {
    const row = rowOf[r]!;
    for (let i = 0; i < cols; i++) {
      putCode(qweight, r, rows, i * bits, bits, matrix.codes[row * cols + slotOf[i]!]!);
    }
    for (let g = 0; g < groups; g++) {
      scales[g * rows + r] = matrix.halfScale(row, g);
      const zero = (matrix.zeros[row * groups + g]! - 1) & mask;
      putCode(qzeros, (g * rows * bits) / 32, 1, r * bits, bits, zero);
    }
  }
  const g_idx = Int32Array.from(slotOf, (slot) => Math.floor(slot / size));
  return { qweight, qzeros, scales, g_idx };
}

/** Puts a code at a bit of words that are `stride` apart; it may reach into the next one. */
function putCode(
  words: Uint32Array,
  start: number,
  stride: number,
  bit: number,
  bits: number,
  code: number,
): void {
  const at = start + (bit >>> 5) * stride;
  const shift = bit & 31;
  words[at]! |= code << shift;
  if (shift + bits > 32) words[at + stride]! |= code >>> (32 - shift);
}
