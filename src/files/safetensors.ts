import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import { parseJson } from "./json.ts";
import { quoted } from "./quoted.ts";
import { describeStart } from "./sniff.ts";
import type { ByteSource } from "./source.ts";

/** Bytes of an element of each type. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/**
 * What a header may hold: some times what the largest published files have. A header of this size takes at most some
 * 200 MB of memory while it is read.
 */
export const SAFETENSORS_LIMITS = {
  headerBytes: 16 << 20,
  tensors: 1 << 17,
  nameBytes: 1024,
  dimensions: 8,
} as const;

/** A tensor of a safetensors file. */
export interface SafeTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** torch's order: the last dimension is contiguous in memory; empty for a scalar. */
  readonly shape: readonly number[];
  readonly source: ByteSource;
  /** Offset in the file of the data (bytes). */
  readonly offset: number;
  readonly byteLength: number;
}

/** What the header says of a tensor. */
interface Entry {
  readonly dtype?: unknown;
  readonly shape?: unknown;
  readonly data_offsets?: unknown;
}

/**
 * Reads the header of a safetensors file and checks that everything it says holds for the file: every tensor lies in it,
 * has the size of its type and shape, and no two overlap. Reads no tensor data.
 *
 * Throws `FileFormatError` for a file that breaks the format or a limit (`SAFETENSORS_LIMITS`), `UnsupportedError` for an
 * element type that is not known, and what `source` throws.
 */
export async function readSafetensors(source: ByteSource): Promise<ReadonlyMap<string, SafeTensor>> {
  const header = await readHeader(source);
  const names = Object.keys(header.json).filter((name) => name !== "__metadata__");
  if (names.length > SAFETENSORS_LIMITS.tensors) {
    const problem = `lists ${names.length} tensors, above the limit of ${SAFETENSORS_LIMITS.tensors}`;
    throw new FileFormatError(source.name, "header", problem);
  }
  const tensors = new Map<string, SafeTensor>();
  for (const name of names) {
    tensors.set(name, readEntry(source, header.dataOffset, name, header.json[name]));
  }
  checkDisjoint(tensors);
  return tensors;
}

interface Header {
  readonly json: Readonly<Record<string, unknown>>;
  /** Offset in the file where the data starts (bytes). */
  readonly dataOffset: number;
}

async function readHeader(source: ByteSource): Promise<Header> {
  const error = (problem: string) => new FileFormatError(source.name, "header", problem);
  const start = await source.read(0, Math.min(64, source.size));
  const brace = String.fromCharCode(start[8] ?? 0);
  if (brace !== "{") throw error(`this is not a safetensors file: ${describeStart(start)}`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > SAFETENSORS_LIMITS.headerBytes) {
    throw error(`has ${length} bytes, above the limit of ${SAFETENSORS_LIMITS.headerBytes}`);
  }
  const dataOffset = 8 + Number(length);
  if (dataOffset > source.size) {
    throw error(`has ${length} bytes, but the file only ${source.size}: is the download complete?`);
  }
  const json = parseJson(source.name, "header", await source.read(8, Number(length)));
  return { json: json as Header["json"], dataOffset };
}

function readEntry(source: ByteSource, dataOffset: number, name: string, entry: unknown): SafeTensor {
  const error = (problem: string) => new FileFormatError(source.name, `tensor ${quoted(name)}`, problem);
  if (new TextEncoder().encode(name).length > SAFETENSORS_LIMITS.nameBytes) {
    throw error(`its name has more than ${SAFETENSORS_LIMITS.nameBytes} bytes`);
  }
  if (typeof entry !== "object" || entry === null) throw error("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = entry as Entry;
  if (typeof dtype !== "string") throw error("has no dtype");
  if (!Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw new UnsupportedError(
      `${source.name}: tensor ${quoted(name)} has elements of type ${quoted(dtype)}, which this version does not know`,
    );
  }
  if (!isCounts(shape)) throw error("its shape is no array of whole numbers");
  if (shape.length > SAFETENSORS_LIMITS.dimensions) {
    throw error(`has ${shape.length} dimensions, above the limit of ${SAFETENSORS_LIMITS.dimensions}`);
  }
  if (!isCounts(offsets) || offsets.length !== 2) throw error("its data_offsets are no two whole numbers");
  const [from, to] = offsets as [number, number];
  const count = shape.reduce((product, extent) => product * BigInt(extent), 1n);
  const bytes = count * BigInt(DTYPE_BYTES[dtype as Dtype]);
  if (from > to || BigInt(to - from) !== bytes) {
    throw error(`its data_offsets ${from} to ${to} are not the ${bytes} bytes of ${dtype} [${shape}]`);
  }
  if (to > source.size - dataOffset) {
    const problem = `its data_offsets ${from} to ${to} pass the end of the file`;
    throw error(`${problem} (${source.size} bytes): is the download complete?`);
  }
  return { name, dtype: dtype as Dtype, shape, source, offset: dataOffset + from, byteLength: to - from };
}

/** Whether it is an array of whole numbers from 0, exact in a double. */
function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

function checkDisjoint(tensors: ReadonlyMap<string, SafeTensor>): void {
  const sorted = [...tensors.values()].filter(({ byteLength }) => byteLength > 0);
  sorted.sort((a, b) => a.offset - b.offset);
  for (const [i, tensor] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before === undefined || before.offset + before.byteLength <= tensor.offset) continue;
    throw new FileFormatError(
      tensor.source.name,
      `tensor ${quoted(tensor.name)}`,
      `its data overlaps that of tensor ${quoted(before.name)}`,
    );
  }
}
