import { FileAccessError } from "../base/errors.ts";

/** Random access to the bytes of one file, wherever they are kept. Reads may overlap in time. */
export interface ByteSource {
  /** What errors call the file: its path, usually. */
  readonly name: string;
  /** Length in bytes when it was opened. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`, the caller's to keep; `FileAccessError` where the file lacks them. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Fills `target` with the bytes from `offset`; `FileAccessError` where the file lacks them. */
  readInto(offset: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** A source over bytes in memory (which it does not copy until they are read). */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  const source: ByteSource = {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange(source, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
    async readInto(offset, target) {
      checkRange(source, offset, target.length);
      target.set(bytes.subarray(offset, offset + target.length));
    },
    async close() {},
  };
  return source;
}

/** Throws a `FileAccessError` unless bytes `offset` to `offset + length` lie in the source. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new FileAccessError(
    source.name,
    `cannot read ${length} bytes at offset ${offset}: the file has ${source.size} bytes`,
  );
}
