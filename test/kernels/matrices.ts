import { f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import type { Rng } from "../../src/base/rng.ts";
import {
  blockLayout,
  type FloatFormat,
  type Format,
  groupCount,
  type QuantizedFormat,
  rowBytes,
} from "../../src/quant/formats.ts";

/** How the scales, the minima and the float weights of a matrix are drawn. */
export interface Values {
  scale(): number;
  minimum(): number;
  weight(): number;
}

export const ordinary = (rng: Rng): Values => ({
  scale: () => 0.05 * rng.normal(),
  minimum: () => 0.2 * rng.normal(),
  weight: () => rng.normal(),
});

/** Sums of these stay exact in f32. */
export const exact = (rng: Rng): Values => ({
  scale: () => [0.5, 1, -1, 2][rng.integer(4)]!,
  minimum: () => rng.integer(9) - 4,
  weight: () => rng.integer(15) - 7,
});

/** A matrix in row-major blocks. Every code is as likely as every other, padding included; `code` fixes them all. */
export function randomMatrix(
  format: Format,
  rows: number,
  cols: number,
  rng: Rng,
  values: Values = ordinary(rng),
  codeByte?: number,
): Uint8Array {
  const bytes = new Uint8Array(rows * rowBytes(format, cols));
  const view = new DataView(bytes.buffer);
  if (format.kind === "float") {
    for (let i = 0; i < rows * cols; i++) setFloat(view, format, i, values.weight());
    return bytes;
  }
  for (let i = 0; i < bytes.length; i++) bytes[i] = codeByte ?? rng.integer(256);
  for (let row = 0; row < rows; row++) setHeaders(view, format, row, cols, rng, values);
  return bytes;
}

function setFloat(view: DataView, { element }: FloatFormat, i: number, value: number): void {
  if (element === "f32") view.setFloat32(4 * i, value, true);
  else view.setUint16(2 * i, element === "f16" ? f32ToF16(value) : f32ToBf16(value), true);
}

function setHeaders(
  view: DataView,
  format: QuantizedFormat,
  row: number,
  cols: number,
  rng: Rng,
  values: Values,
): void {
  const layout = blockLayout(format, cols);
  for (let g = 0; g < groupCount(format, cols); g++) {
    const block = row * layout.rowBytes + g * layout.blockBytes;
    view.setUint16(block, f32ToF16(values.scale()), true);
    if (format.zero.kind === "minimum")
      view.setUint16(block + layout.zeroAt, f32ToF16(values.minimum()), true);
    if (format.zero.kind === "code") view.setUint8(block + layout.zeroAt, rng.integer(2 ** format.bits));
  }
}
