import { rowBytes } from "../../src/quant/blocks.ts";
import { type Format, groupSize } from "../../src/quant/formats.ts";
import { dequantizeRows, unpackRow } from "../../src/quant/reference.ts";

/**
 * What rounding errors of a projection are measured by: Σ |s|·(q + z)·|x| + |m|·|x| for every token and row, the sum
 * of everything that is added or subtracted on the way.
 */
export function magnitudes(
  format: Format,
  source: Uint8Array,
  rows: number,
  cols: number,
  x: Float32Array,
): Float64Array {
  const tokens = x.length / cols;
  const weights = weightMagnitudes(format, source, rows, cols);
  const sizes = new Float64Array(tokens * rows);
  for (let t = 0; t < tokens; t++)
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = 0; i < cols; i++) sum += weights[r * cols + i]! * Math.abs(x[t * cols + i]!);
      sizes[t * rows + r] = sum;
    }
  return sizes;
}

function weightMagnitudes(format: Format, source: Uint8Array, rows: number, cols: number): Float64Array {
  if (format.kind === "float") return Float64Array.from(dequantizeRows(format, source, rows, cols), Math.abs);
  const sizes = new Float64Array(rows * cols);
  const group = groupSize(format, cols);
  const perRow = rowBytes(format, cols);
  for (let r = 0; r < rows; r++) {
    const row = unpackRow(format, source.subarray(r * perRow, (r + 1) * perRow), cols);
    row.codes.forEach((code, i) => {
      const g = Math.floor(i / group);
      sizes[r * cols + i] =
        Math.abs(row.scales[g]!) * (code + row.zeros[g]!) + Math.abs(row.minima?.[g] ?? 0);
    });
  }
  return sizes;
}
