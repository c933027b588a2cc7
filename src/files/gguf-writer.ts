import { assert, at } from "../base/assert.ts";
import { ByteWriter } from "../base/byte-writer.ts";
import { alignUp } from "../base/bytes.ts";
import { QigenError, UsageError } from "../base/errors.ts";
import { ggufAlignment, readGguf } from "./gguf.ts";
import { GgufMetadata } from "./gguf-metadata.ts";
import { GGML_TYPES, type GgmlType, measureTensor } from "./gguf-types.ts";
import { writeValue } from "./gguf-value-writer.ts";
import type { GgufValue } from "./gguf-values.ts";
import { quoted } from "./quoted.ts";
import { type ByteSource, memorySource } from "./source.ts";

/** Takes the file's bytes in order; the chunk may be reused once the promise is fulfilled. */
export type WriteChunk = (chunk: Uint8Array) => Promise<void>;

export interface GgufTensorToWrite {
  readonly name: string;
  readonly type: GgmlType;
  /** ggml's order: `shape[0]` is the row, contiguous in memory. */
  readonly shape: readonly number[];
  /** The stored bytes in chunks of any size. Called once, when the tensor's turn comes. */
  readonly data: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface GgufToWrite {
  /** In the order of the file; `general.alignment`, where present, is obeyed. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensorToWrite[];
}

/** A header ready to be written. */
interface Header {
  readonly bytes: Uint8Array;
  readonly alignment: number;
  /** Bytes of each tensor, in order. */
  readonly byteLengths: readonly number[];
  /** Bytes of the whole file. */
  readonly fileBytes: number;
}

const VERSION = 3;
const ZEROS = new Uint8Array(64 << 10);

/**
 * Writes a GGUF file of version 3 and returns its length in bytes. Holds the header and one chunk at a time.
 *
 * Throws `UsageError` for contents that `readGguf` would not accept (before anything is written) and for a tensor
 * whose data is not exactly as long as its type and shape say; passes on what `write` and `data` throw.
 */
export async function writeGguf(write: WriteChunk, contents: GgufToWrite): Promise<number> {
  const header = await buildHeader(contents);
  await write(header.bytes);
  for (const [i, tensor] of contents.tensors.entries()) {
    const byteLength = at(header.byteLengths, i);
    await writeData(write, tensor, byteLength);
    await writeZeros(write, alignUp(byteLength, header.alignment) - byteLength);
  }
  return header.fileBytes;
}

/** Bytes of the file that `writeGguf` writes. Throws what it throws before it writes. */
export async function ggufFileBytes(contents: GgufToWrite): Promise<number> {
  return (await buildHeader(contents)).fileBytes;
}

async function buildHeader({ metadata, tensors }: GgufToWrite): Promise<Header> {
  try {
    const alignment = ggufAlignment(new GgufMetadata("GGUF to write", metadata));
    const byteLengths = tensors.map(byteLengthOf);
    const to = new ByteWriter();
    to.raw(new TextEncoder().encode("GGUF"));
    to.u32(VERSION);
    to.u64(BigInt(tensors.length));
    to.u64(BigInt(metadata.size));
    for (const [key, value] of metadata) {
      to.string(key);
      writeValue(to, key, value);
    }
    const dataBytes = writeTensorInfos(to, tensors, byteLengths, alignment);
    to.pad(alignment);
    const header = { bytes: to.written(), alignment, byteLengths, fileBytes: to.length + dataBytes };
    await checkReadable(header);
    return header;
  } catch (error) {
    if (error instanceof QigenError) throw new UsageError(error.message);
    throw error;
  }
}

function byteLengthOf({ name, type, shape }: GgufTensorToWrite): number {
  const measured = measureTensor(type, shape);
  if ("byteLength" in measured) return measured.byteLength;
  throw new UsageError(`tensor ${quoted(name)}: ${measured.problem}`);
}

/** Returns the bytes that the data of all tensors takes, with padding. */
function writeTensorInfos(
  to: ByteWriter,
  tensors: readonly GgufTensorToWrite[],
  byteLengths: readonly number[],
  alignment: number,
): number {
  let offset = 0;
  for (const [i, { name, type, shape }] of tensors.entries()) {
    to.string(name);
    to.u32(shape.length);
    for (const extent of shape) to.u64(BigInt(extent));
    to.u32(GGML_TYPES[type].id);
    to.u64(BigInt(offset));
    offset += alignUp(at(byteLengths, i), alignment);
  }
  return offset;
}

/** Lets the reader read the header, so that what is allowed is written down once. */
async function checkReadable({ bytes, fileBytes }: Header): Promise<void> {
  const memory = memorySource("GGUF to write", bytes);
  const file: ByteSource = {
    ...memory,
    size: fileBytes,
    read: (offset, length) => memory.read(offset, Math.min(length, bytes.length - offset)),
  };
  const { dataOffset } = await readGguf(file);
  assert(dataOffset === bytes.length, `GGUF header of ${bytes.length} bytes, data at ${dataOffset}`);
}

async function writeData(write: WriteChunk, tensor: GgufTensorToWrite, byteLength: number): Promise<void> {
  let written = 0;
  for await (const chunk of tensor.data()) {
    written += chunk.length;
    if (written > byteLength) break;
    await write(chunk);
  }
  if (written === byteLength) return;
  const found = written > byteLength ? "more" : `${written}`;
  throw new UsageError(
    `tensor ${quoted(tensor.name)}: data should have ${byteLength} bytes, but has ${found}`,
  );
}

async function writeZeros(write: WriteChunk, length: number): Promise<void> {
  for (let left = length; left > 0; left -= ZEROS.length) {
    await write(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
  }
}
