import { alignUp, isPowerOfTwo } from "../base/bytes.ts";
import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import { GgufMetadata } from "./gguf-metadata.ts";
import { type GgmlType, ggmlTypeOf, measureTensor, unknownTypeName } from "./gguf-types.ts";
import { GgufValueReader } from "./gguf-value-reader.ts";
import { GGUF_DEFAULT_ALIGNMENT, GGUF_LIMITS, type GgufValue } from "./gguf-values.ts";
import type { ModelFile, PlainTensor } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import { ggufTensor } from "./repacked-tensor.ts";
import { describeStart } from "./sniff.ts";
import type { ByteSource } from "./source.ts";
import { WindowReader } from "./window.ts";

/** A tensor of a GGUF file; its offset is a multiple of the alignment. */
export type GgufTensor = PlainTensor<GgmlType>;

export interface GgufFile extends ModelFile {
  readonly version: number;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** What the tensors' offsets are multiples of (bytes). */
  readonly alignment: number;
  /** Offset in the file where the tensor data starts (bytes); may be past the end if there are no tensors. */
  readonly dataOffset: number;
}

/** A tensor as the header lists it; `offset` counts from the start of the data. */
interface TensorInfo extends Pick<GgufTensor, "name" | "type" | "shape" | "offset" | "byteLength"> {
  readonly field: string;
}

/** Bytes of the smallest metadata entry (a key of one byte with a byte) and tensor info (a scalar without name). */
const LEAST_ENTRY = 8 + 1 + 4 + 1;
const LEAST_TENSOR = 8 + 4 + 4 + 8;

/**
 * Reads the header of a GGUF file (version 2 or 3, little-endian, one file) and checks that everything it says
 * holds for the file: every tensor lies in it, aligned, and no two overlap. Reads no tensor data.
 *
 * Throws `FileFormatError` for a file that breaks the format or a limit (`GGUF_LIMITS`), `UnsupportedError` for a
 * version, byte order or tensor type that this version lacks, and what `source` throws.
 */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  await checkMagic(source);
  const from = new WindowReader(source, GGUF_LIMITS.headerBytes);
  await from.need(Math.min(24, source.size), "header");
  from.u32("magic");
  const version = checkVersion(source.name, from.u32("version"));
  const tensorCount = readCount(from, "tensor count", GGUF_LIMITS.tensors, LEAST_TENSOR);
  const entryCount = readCount(from, "metadata count", GGUF_LIMITS.metadataEntries, LEAST_ENTRY);

  const values = new GgufValueReader(from);
  const metadata = new GgufMetadata(source.name, await readEntries(from, values, entryCount));
  const alignment = ggufAlignment(metadata);
  const infos = await readTensorInfos(from, values, tensorCount);
  const dataOffset = alignUp(from.position, alignment);
  return {
    version,
    metadata,
    alignment,
    dataOffset,
    tensors: placeTensors(source, infos, alignment, dataOffset),
  };
}

async function checkMagic(source: ByteSource): Promise<void> {
  const start = await source.read(0, Math.min(64, source.size));
  if (String.fromCharCode(...start.subarray(0, 4)) === "GGUF") return;
  throw new FileFormatError(source.name, "magic", `this is not a GGUF file: ${describeStart(start)}`);
}

function checkVersion(file: string, version: number): number {
  if (version === 2 || version === 3) return version;
  if (version !== 0 && (version & 0xffff) === 0) {
    throw new UnsupportedError(
      `${file}: big-endian GGUF files cannot be read; convert the model for little-endian`,
    );
  }
  if (version === 1) {
    throw new UnsupportedError(`${file}: GGUF version 1 cannot be read; convert the model to version 3`);
  }
  if (version > 3 && version < 1000) {
    throw new UnsupportedError(`${file}: GGUF version ${version} is newer than what can be read (2 and 3)`);
  }
  throw new FileFormatError(file, "version", `is ${version}, which is no GGUF version`);
}

/** A count of things that take at least `least` bytes each. */
function readCount(from: WindowReader, field: string, limit: number, least: number): number {
  const count = from.count(field, limit);
  if (count * least <= from.left) return count;
  throw from.error(field, `is ${count}, but that cannot fit into the ${from.left} bytes that follow`);
}

async function readEntries(
  from: WindowReader,
  values: GgufValueReader,
  count: number,
): Promise<ReadonlyMap<string, GgufValue>> {
  const entries = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const field = `metadata key ${i + 1} of ${count}`;
    const key = await values.string(field, GGUF_LIMITS.keyBytes);
    if (key === "") throw from.error(field, "is empty");
    if (entries.has(key)) throw from.error(field, `repeats ${quoted(key)}`);
    entries.set(key, await values.value(`metadata ${quoted(key)}`));
  }
  return entries;
}

/** What `general.alignment` says (bytes), or the default. */
export function ggufAlignment(metadata: GgufMetadata): number {
  const key = "general.alignment";
  const alignment = metadata.integerOr(key, 1, GGUF_LIMITS.alignment, GGUF_DEFAULT_ALIGNMENT);
  if (!isPowerOfTwo(alignment)) throw metadata.error(key, `is ${alignment}, not a power of two`);
  return alignment;
}

async function readTensorInfos(
  from: WindowReader,
  values: GgufValueReader,
  count: number,
): Promise<readonly TensorInfo[]> {
  const names = new Set<string>();
  const infos: TensorInfo[] = [];
  for (let i = 0; i < count; i++) {
    const field = `name of tensor ${i + 1} of ${count}`;
    const name = await values.string(field, GGUF_LIMITS.tensorNameBytes);
    if (names.has(name)) throw from.error(field, `repeats ${quoted(name)}`);
    names.add(name);
    infos.push(await readTensorInfo(from, name));
  }
  return infos;
}

/** What follows the name: dimensions, type, offset from the start of the data. */
async function readTensorInfo(from: WindowReader, name: string): Promise<TensorInfo> {
  const field = `tensor ${quoted(name)}`;
  await from.need(4, field);
  const dimensions = from.u32(field);
  if (dimensions > GGUF_LIMITS.dimensions) {
    throw from.error(field, `has ${dimensions} dimensions, above the limit of ${GGUF_LIMITS.dimensions}`);
  }
  await from.need(8 * dimensions + 4 + 8, field);
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) {
    shape.push(from.count(`${field}, dimension ${i}`, Number.MAX_SAFE_INTEGER));
  }
  const id = from.u32(field);
  const type = ggmlTypeOf(id);
  if (type === undefined) {
    throw new UnsupportedError(`${from.file}: ${field} has the type ${unknownTypeName(id)}`);
  }
  const measured = measureTensor(type, shape);
  if ("problem" in measured) throw from.error(field, measured.problem);
  const offset = from.count(`${field}, offset`, Number.MAX_SAFE_INTEGER);
  return { name, field, type, shape, offset, byteLength: measured.byteLength };
}

/** Checks where the tensors lie and gives them their offsets in the file. */
function placeTensors(
  source: ByteSource,
  infos: readonly TensorInfo[],
  alignment: number,
  dataOffset: number,
): ReadonlyMap<string, GgufTensor> {
  const error = (field: string, problem: string) => new FileFormatError(source.name, field, problem);
  const available = source.size - dataOffset;
  for (const { field, offset, byteLength } of infos) {
    if (offset % alignment !== 0) throw error(field, `its offset ${offset} is no multiple of ${alignment}`);
    // Both are at most 2^53 − 1, so the sum, even where it rounds, stays above `available` if it is.
    if (offset + byteLength > available) {
      const problem = `its ${byteLength} bytes at offset ${dataOffset + offset} pass the end of the file`;
      throw error(field, `${problem} (${source.size} bytes): is the download complete?`);
    }
  }
  checkDisjoint(infos, error);
  return new Map(
    infos.map(({ name, type, shape, offset, byteLength }) => [
      name,
      ggufTensor(name, type, shape, source, dataOffset + offset, byteLength),
    ]),
  );
}

function checkDisjoint(
  infos: readonly TensorInfo[],
  error: (field: string, problem: string) => FileFormatError,
): void {
  const sorted = [...infos].sort((a, b) => a.offset - b.offset);
  let previous: TensorInfo | undefined;
  for (const info of sorted) {
    if (previous && previous.offset + previous.byteLength > info.offset) {
      throw error(info.field, `its data overlaps that of ${previous.field}`);
    }
    previous = info;
  }
}
