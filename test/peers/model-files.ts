/** Model files for the comparison with peers, in a folder of the test's own. */

import { at } from "../../src/base/assert.ts";
import { type GgufTensor, readGguf } from "../../src/files/gguf.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import { type GgufTensorToWrite, type GgufToWrite, writeGguf } from "../../src/files/gguf-writer.ts";
import type { ByteSource } from "../../src/files/source.ts";
import { openFile, writeFileAtomically } from "../../src/host/node-files.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { quantizeRows } from "../../src/quant/quantizers.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";

/** Bytes of f32 weights at a time. */
const CHUNK_BYTES = 4 << 20;

export async function writeModel(path: string, contents: GgufToWrite): Promise<void> {
  await writeFileAtomically(path, async (write) => {
    await writeGguf(write, contents);
  });
}

/** Writes a copy of a model with every tensor as `change` has it. */
export async function rewriteModel(
  from: string,
  to: string,
  change: (tensor: GgufTensor, source: ByteSource) => GgufTensorToWrite,
): Promise<void> {
  const source = await openFile(from);
  try {
    const file = await readGguf(source);
    const tensors = [...file.tensors.values()].map((tensor) => change(tensor, source));
    await writeModel(to, { metadata: file.metadata.entries, tensors });
  } finally {
    await source.close();
  }
}

/** The tensor as it is. */
export function sameTensor({ name, type, shape, offset, byteLength }: GgufTensor, source: ByteSource) {
  const data = async function* () {
    yield await source.read(offset, byteLength);
  };
  return { name, type, shape, data } satisfies GgufTensorToWrite;
}

/** The tensor's weights as f32, exactly. */
export function dequantizedTensor(tensor: GgufTensor, source: ByteSource): GgufTensorToWrite {
  return convertedTensor(tensor, source, "F32");
}

/** A matrix in another format; a vector as it is. */
export function quantizedTensor(tensor: GgufTensor, source: ByteSource, type: GgmlType): GgufTensorToWrite {
  return tensor.shape.length < 2 ? sameTensor(tensor, source) : convertedTensor(tensor, source, type);
}

function convertedTensor(tensor: GgufTensor, source: ByteSource, type: GgmlType): GgufTensorToWrite {
  if (tensor.type === type) return sameTensor(tensor, source);
  const from = formatNamed(tensor.type);
  const to = formatNamed(type);
  const cols = at(tensor.shape, 0);
  const rows = tensor.shape.slice(1).reduce((a, b) => a * b, 1);
  const stride = rowBytes(from, cols);
  const rowsAtOnce = Math.max(1, Math.floor(CHUNK_BYTES / (4 * cols)));
  const data = async function* () {
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row);
      const bytes = new Uint8Array(count * stride);
      await tensor.readRows(row, bytes);
      yield quantizeRows(to, dequantizeRows(from, bytes, count, cols), count, cols);
    }
  };
  return { name: tensor.name, type, shape: tensor.shape, data };
}
