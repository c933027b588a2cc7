import type { QuantizedFormat } from "../quant/formats.ts";
import { QuantizedMatrix } from "../solver/quantized-matrix.ts";
import { type QuantizedTensor, weightError, weightsOf } from "./quantized-tensor.ts";
import type { Rows } from "./working-tensors.ts";

/** Rounds every weight to the nearest value of its group, whose levels are those of least square error. */
export function roundToNearest(
  tensor: string,
  { rows, cols, weights }: Rows,
  format: QuantizedFormat,
  leastZero?: number,
): QuantizedTensor {
  const matrix = new QuantizedMatrix(format, rows, cols, leastZero);
  for (let r = 0; r < rows; r++) {
    const row = weights.subarray(r * cols, (r + 1) * cols);
    for (let from = 0; from < cols; from += matrix.block) {
      matrix.fit(r, from / matrix.block, row.subarray(from, Math.min(cols, from + matrix.block)));
    }
    for (let i = 0; i < cols; i++) matrix.round(r, i, row[i]!);
  }
  const error = weightError(weights, weightsOf({ matrix, order: undefined }));
  const { bits, name } = format;
  const record = { tensor, rows, cols, bits, format: name, method: "rtn", weightError: error } as const;
  return { matrix, order: undefined, record };
}
