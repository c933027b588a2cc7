import { f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import type { Rng } from "../../src/base/rng.ts";
import { type BitField, blockOf, halfAt, rowBytes, writeFields } from "../../src/quant/blocks.ts";
import {
  blockCount,
  type FloatFormat,
  type Format,
  type GroupCodes,
  groupsOfBlock,
  type QuantizedFormat,
  type Scale,
} from "../../src/quant/formats.ts";

/** How the scales, the minima and the float weights of a matrix are drawn. */
export interface Values {
  scale(): number;
  minimum(): number;
  weight(): number;
  /** What is stored for the integer of a group. */
  integer(codes: GroupCodes): number;
}

export const ordinary = (rng: Rng): Values => ({
  scale: () => 0.05 * rng.normal(),
  minimum: () => 0.2 * rng.normal(),
  weight: () => rng.normal(),
  integer: () => rng.integer(256),
});

/** Sums of these stay exact in f32. */
export const exact = (rng: Rng): Values => ({
  scale: () => [0.5, 1, -1, 2][rng.integer(4)]!,
  minimum: () => rng.integer(9) - 4,
  weight: () => rng.integer(15) - 7,
  integer: ({ offset, signed }) => (signed || offset > 0 ? offset + rng.integer(5) - 2 : rng.integer(3)),
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
  for (let row = 0; row < rows; row++) setHeaders(bytes, format, row, cols, rng, values);
  return bytes;
}

function setFloat(view: DataView, { element }: FloatFormat, i: number, value: number): void {
  if (element === "f32") view.setFloat32(4 * i, value, true);
  else view.setUint16(2 * i, element === "f16" ? f32ToF16(value) : f32ToBf16(value), true);
}

function setHeaders(
  bytes: Uint8Array,
  format: QuantizedFormat,
  row: number,
  cols: number,
  rng: Rng,
  values: Values,
): void {
  const block = blockOf(format, cols);
  for (let n = 0; n < blockCount(format, cols); n++) {
    const at = row * rowBytes(format, cols) + n * block.bytes;
    const put = (fields: readonly BitField[] | undefined, value: number) =>
      writeFields(bytes, at, fields ?? [], value);
    if (block.halfScale !== undefined) put(halfAt(block.halfScale), f32ToF16(values.scale()));
    if (block.halfZero !== undefined) put(halfAt(block.halfZero), f32ToF16(values.minimum()));
    for (let g = 0; g < groupsOfBlock(format, cols); g++) {
      put(block.scale?.(g), scaleCode(format.scale, values));
      put(block.zero?.(g), zeroCode(format, rng, values));
    }
  }
}

function scaleCode(scale: Scale, values: Values): number {
  const exponent = () => Math.round(Math.log2(Math.abs(values.scale())));
  switch (scale.kind) {
    case "half":
      return f32ToF16(values.scale());
    case "exponent":
      return exponent() + 128;
    case "minifloat":
      return 8 * Math.max(0, exponent() + 8);
    case "product":
      return values.integer(scale.codes);
  }
}

function zeroCode({ zero, bits }: QuantizedFormat, rng: Rng, values: Values): number {
  switch (zero.kind) {
    case "constant":
      return 0;
    case "code":
      return rng.integer(2 ** bits);
    case "minimum":
      return f32ToF16(values.minimum());
    case "product":
      return values.integer(zero.codes);
  }
}

/** So many inputs or a few more: whole blocks, where a format has only such rows. */
export function wholeBlocks(format: Format, cols: number): number {
  if (format.kind === "float") return cols;
  const { weights, chunkBytes } = blockOf(format, cols);
  const isWhole = chunkBytes === undefined || format.block !== undefined;
  return isWhole ? Math.ceil(cols / weights) * weights : cols;
}
