import { alignUp } from "../base/bytes.ts";
import { UsageError } from "../base/errors.ts";
import type { WriteChunk } from "./gguf-writer.ts";
import { quoted } from "./quoted.ts";
import { DTYPE_BYTES, type Dtype } from "./safetensors.ts";

export interface SafeTensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  /** torch's order: the last dimension is contiguous in memory. */
  readonly shape: readonly number[];
  /** The stored bytes in chunks of any size. Called once, when the tensor's turn comes. */
  readonly data: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Data begins at a multiple of this, as the library of the format has it. */
const ALIGNMENT = 8;

/** Bytes of a file of these tensors. */
export function safetensorsBytes(tensors: readonly SafeTensorToWrite[]): number {
  return tensors.reduce((sum, tensor) => sum + byteLengthOf(tensor), headerOf(tensors).length);
}

/**
 * Writes a safetensors file. Holds the header and one chunk at a time. Throws `UsageError` for a tensor whose data is not
 * exactly as long as its type and shape say; passes on what `write` and `data` throw.
 */
export async function writeSafetensors(
  write: WriteChunk,
  tensors: readonly SafeTensorToWrite[],
): Promise<void> {
  await write(headerOf(tensors));
  for (const tensor of tensors) {
    let written = 0;
    for await (const chunk of tensor.data()) {
      written += chunk.length;
      await write(chunk);
    }
    if (written === byteLengthOf(tensor)) continue;
    const problem = `data should have ${byteLengthOf(tensor)} bytes, not ${written}`;
    throw new UsageError(`tensor ${quoted(tensor.name)}: ${problem}`);
  }
}

function byteLengthOf({ dtype, shape }: SafeTensorToWrite): number {
  return shape.reduce((product, extent) => product * extent, DTYPE_BYTES[dtype]);
}

function headerOf(tensors: readonly SafeTensorToWrite[]): Uint8Array {
  let offset = 0;
  const entries = tensors.map((tensor) => {
    const start = offset;
    offset += byteLengthOf(tensor);
    const { name, dtype, shape } = tensor;
    return [name, { dtype, shape, data_offsets: [start, offset] }] as const;
  });
  // What loaders ask for before they hand tensors to a framework.
  const header = { __metadata__: { format: "pt" }, ...Object.fromEntries(entries) };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = alignUp(text.length, ALIGNMENT);
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}
