import { FileFormatError } from "./errors.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Bounds-checked little-endian reader over `bytes`, which start at offset `base` of `file`. Every read names the
 * field it is for; one that leaves the bytes throws a `FileFormatError` with the file and that field.
 */
export class ByteReader {
  private view: DataView;
  private cursor = 0;

  constructor(
    readonly file: string,
    protected bytes: Uint8Array,
    protected base = 0,
  ) {
    this.view = viewOf(bytes);
  }

  /** Offset in the file of the next byte. */
  get position(): number {
    return this.base + this.cursor;
  }

  /** Bytes that can be read before the end of `bytes`. */
  get remaining(): number {
    return this.bytes.length - this.cursor;
  }

  u8(field: string): number {
    return this.view.getUint8(this.take(1, field));
  }

  i8(field: string): number {
    return this.view.getInt8(this.take(1, field));
  }

  u16(field: string): number {
    return this.view.getUint16(this.take(2, field), true);
  }

  i16(field: string): number {
    return this.view.getInt16(this.take(2, field), true);
  }

  u32(field: string): number {
    return this.view.getUint32(this.take(4, field), true);
  }

  i32(field: string): number {
    return this.view.getInt32(this.take(4, field), true);
  }

  u64(field: string): bigint {
    return this.view.getBigUint64(this.take(8, field), true);
  }

  i64(field: string): bigint {
    return this.view.getBigInt64(this.take(8, field), true);
  }

  f32(field: string): number {
    return this.view.getFloat32(this.take(4, field), true);
  }

  f64(field: string): number {
    return this.view.getFloat64(this.take(8, field), true);
  }

  /** A u64 that counts something: a number at most `limit` (itself at most 2^53 − 1), or a `FileFormatError`. */
  count(field: string, limit: number): number {
    const offset = this.take(8, field);
    const low = this.view.getUint32(offset, true);
    const high = this.view.getUint32(offset + 4, true);
    // The sum rounds above 2^53, but never down to a value at or below a limit that is less than 2^53.
    if (high * 2 ** 32 + low <= limit) return high * 2 ** 32 + low;
    throw this.error(field, `is ${this.view.getBigUint64(offset, true)}, above the limit of ${limit}`);
  }

  /** The next `length` bytes, as a view, not a copy. */
  slice(field: string, length: number): Uint8Array {
    const offset = this.take(length, field);
    return this.bytes.subarray(offset, offset + length);
  }

  /** Passes over `length` bytes. */
  skip(field: string, length: number): void {
    this.take(length, field);
  }

  /** The next `length` bytes as UTF-8; bytes that are not UTF-8 become U+FFFD, a byte order mark is kept. */
  string(field: string, length: number): string {
    const offset = this.take(length, field);
    return decoder.decode(this.bytes.subarray(offset, offset + length));
  }

  /** An error about `field`. */
  error(field: string, problem: string): FileFormatError {
    return new FileFormatError(this.file, field, problem);
  }

  /** Goes on reading in `bytes`, which start at offset `base` of the file. */
  protected refill(bytes: Uint8Array, base: number): void {
    this.bytes = bytes;
    this.base = base;
    this.cursor = 0;
    this.view = viewOf(bytes);
  }

  private take(length: number, field: string): number {
    if (!(length >= 0 && length <= this.remaining)) {
      const problem = `needs ${length} bytes at offset ${this.position}, but ${this.remaining} are left`;
      throw this.error(field, problem);
    }
    const offset = this.cursor;
    this.cursor += length;
    return offset;
  }
}

/** `size` rounded up to a multiple of `alignment` (a power of two); exact below 2^53. */
export function alignUp(size: number, alignment: number): number {
  return Math.ceil(size / alignment) * alignment;
}

/** Whether `value` is 2^0 … 2^31. */
export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && value <= 2 ** 31 && Number.isInteger(value) && (value & (value - 1)) === 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
