/** A GGUF file as llama.cpp reads it. */

import { rowsOf } from "../checkpoints/changed-tensors.ts";
import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { type GgufTensorToWrite, type GgufToWrite, ggufFileBytes, writeGguf } from "../files/gguf-writer.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { WriteFile } from "../host/atomic-folder.ts";
import { type Format, formatNamed } from "../quant/formats.ts";
import { floatRows } from "./float-rows.ts";
import type { Naming } from "./folder-output.ts";
import type { QuantizedTensors } from "./quantized-tensors.ts";

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
  return { metadata, tensors: output.tensors.flatMap((tensor) => tensorsToWrite(tensor, output, quantized)) };
}

/** Vectors, and weights of norms in whatever shape, are floats of full precision in every GGUF file. */
function floatsOf({ name, shape }: StoredTensor, floats: Format): Format {
  return shape.length < 2 || name.endsWith("_norm.weight") ? formatNamed("F32") : floats;
}

function tensorsToWrite(
  tensor: StoredTensor,
  { naming, floats }: GgufOutput,
  quantized: QuantizedTensors,
): GgufTensorToWrite[] {
  const { name, shape } = tensor;
  const type = quantized.format(name)?.name as GgmlType | undefined;
  if (type !== undefined) {
    const data = () => quantizedRows(tensor, naming, quantized);
    return [{ name: naming.name(name), type, shape, data }];
  }
  return naming.stored(tensor).map((stored) => {
    const format = floatsOf(stored, floats);
    const data = () => floatRows(stored, format);
    return { name: stored.name, type: format.name as GgmlType, shape: stored.shape, data };
  });
}

async function* quantizedRows(
  tensor: StoredTensor,
  naming: Naming,
  quantized: QuantizedTensors,
): AsyncGenerator<Uint8Array> {
  const { matrix } = await quantized.take(tensor.name);
  for (const row of rowsOf(naming.runs(tensor.name), matrix.rows)) yield matrix.encode(row, 1);
}
