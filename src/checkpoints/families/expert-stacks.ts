/** Floats of all experts of a layer in one tensor, with inputs as rows. */

import { PlainTensor, type StoredTensor } from "../../files/model-file.ts";
import type { SafeTensor } from "../../files/safetensors.ts";
import { StackedTensor } from "../../files/stacked-tensor.ts";
import { type Columns, type Elements, RenamedTensor, TransposedTensor } from "../changed-tensors.ts";
import type { Latest } from "../latest.ts";
import { expectShape, FLOAT_DTYPES, tensorError } from "../quantized/code-matrix.ts";
import type { ExpertShape } from "../quantized/mxfp4.ts";

/** Some outputs of matrices [count, cols, rows]. Throws `FileFormatError` for another shape or type. */
export function matrixStack(
  name: string,
  tensor: SafeTensor,
  { count, rows, cols }: ExpertShape,
  outputs: Columns,
  held: Latest<Elements>,
): StoredTensor {
  expectFloats(tensor, [count, cols, rows]);
  const { dtype, source, offset, byteLength } = tensor;
  const bytes = byteLength / count;
  const matrices = Array.from({ length: count }, (_, expert) => {
    const matrix = new PlainTensor(name, dtype, [rows, cols], source, offset + expert * bytes, bytes);
    return new TransposedTensor(matrix, held, outputs);
  });
  return new StackedTensor(name, matrices);
}

/** Some elements of vectors [count, rows], likewise. */
export function vectorStack(
  name: string,
  tensor: SafeTensor,
  { count, rows }: ExpertShape,
  outputs: Columns,
  held: Latest<Elements>,
): StoredTensor {
  expectFloats(tensor, [count, rows]);
  const { dtype, source, offset, byteLength } = tensor;
  const { first, step } = outputs;
  // With as many columns as there are places in a step, the elements of one place are a column.
  const table = new PlainTensor(name, dtype, [step, (count * rows) / step], source, offset, byteLength);
  return new RenamedTensor(new TransposedTensor(table, held, { first, step }), name, [rows / step, count]);
}

function expectFloats(tensor: SafeTensor, shape: readonly number[]): void {
  expectShape(tensor, shape);
  if (FLOAT_DTYPES.includes(tensor.dtype)) return;
  throw tensorError(tensor, `has elements of type ${tensor.dtype}, not ${FLOAT_DTYPES.join(" or ")}`);
}
