/** A GGUF file as llama.cpp reads it. */

import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { type GgufTensorToWrite, type GgufToWrite, ggufFileBytes, writeGguf } from "../files/gguf-writer.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { WriteFile } from "../host/atomic-folder.ts";
import { type Format, formatNamed } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";
import { type Naming, rowsOf } from "./gptq-folder.ts";
import type { QuantizedTensors } from "./quantized-tensors.ts";
import { extentsOf, readWeights } from "./working-tensors.ts";

/** Rows are encoded in parts of about so many weights. */
const PART_WEIGHTS = 1 << 20;

export interface GgufOutput {
  readonly file: ModelFile;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order in which they are written. */
  readonly tensors: readonly StoredTensor[];
  readonly naming: Naming;
  /** Type of matrices that are not quantized; vectors are F32. */
  readonly floats: Format;
}

/** Bytes of the file. */
export function ggufBytes(output: GgufOutput, quantized: QuantizedTensors): Promise<number> {
  return ggufFileBytes(contentsOf(output, quantized));
}

export function writeGgufOutput(
  write: WriteFile,
  name: string,
  output: GgufOutput,
  quantized: QuantizedTensors,
): Promise<void> {
  return write(name, async (to) => {
    await writeGguf(to, contentsOf(output, quantized));
  });
}

function contentsOf(output: GgufOutput, quantized: QuantizedTensors): GgufToWrite {
  const { metadata } = output;
  return { metadata, tensors: output.tensors.map((tensor) => tensorToWrite(tensor, output, quantized)) };
}

/** Vectors are floats of full precision in every GGUF file. */
function formatOf(tensor: StoredTensor, floats: Format, quantized: QuantizedTensors): Format {
  if (tensor.shape.length < 2) return formatNamed("F32");
  return quantized.format(tensor.name) ?? floats;
}

function tensorToWrite(
  tensor: StoredTensor,
  { naming, floats }: GgufOutput,
  quantized: QuantizedTensors,
): GgufTensorToWrite {
  const format = formatOf(tensor, floats, quantized);
  const { name, shape } = tensor;
  const rowOf = naming.rowOf(name);
  const data = quantized.format(name)
    ? () => quantizedRows(tensor, rowOf, quantized)
    : () => floatRows(tensor, rowOf, format);
  return { name: naming.name(name), type: format.name as GgmlType, shape, data };
}

async function* quantizedRows(
  tensor: StoredTensor,
  rowOf: (r: number) => number,
  quantized: QuantizedTensors,
): AsyncGenerator<Uint8Array> {
  const { matrix } = await quantized.take(tensor.name);
  for (let r = 0; r < matrix.rows; r++) yield matrix.encode(rowOf(r), 1);
}

async function* floatRows(
  tensor: StoredTensor,
  rowOf: (r: number) => number,
  format: Format,
): AsyncGenerator<Uint8Array> {
  if (tensor.type === format.name) {
    yield* rowsOf(tensor, rowOf);
    return;
  }
  const { rows, cols } = extentsOf(tensor);
  const most = tensor.shape.length < 2 ? 1 : Math.max(1, Math.floor(PART_WEIGHTS / cols));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const { weights } = await readWeights(tensor, first, count);
    const moved = new Float32Array(weights.length);
    if (tensor.shape.length < 2) for (let i = 0; i < cols; i++) moved[i] = weights[rowOf(i)]!;
    else await gather(tensor, rowOf, first, count, weights, moved);
    yield quantizeRows(format, moved, count, cols);
  }
}

/** Rows `first` … of the result; those that are elsewhere in the source are read one by one. */
async function gather(
  tensor: StoredTensor,
  rowOf: (r: number) => number,
  first: number,
  count: number,
  near: Float32Array,
  into: Float32Array,
): Promise<void> {
  const cols = near.length / count;
  for (let r = 0; r < count; r++) {
    const row = rowOf(first + r);
    const isNear = row >= first && row < first + count;
    const weights = isNear
      ? near.subarray((row - first) * cols, (row - first + 1) * cols)
      : (await readWeights(tensor, row, 1)).weights;
    into.set(weights, r * cols);
  }
}
