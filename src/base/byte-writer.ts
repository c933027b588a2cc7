const FIRST_CAPACITY = 4096;

const encoder = new TextEncoder();

/** A little-endian buffer that grows; the counterpart of `ByteReader`. Integers out of range wrap. */
export class ByteWriter {
  private bytes = new Uint8Array(FIRST_CAPACITY);
  private view = new DataView(this.bytes.buffer);
  private used = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.used;
  }

  u8(value: number): void {
    const offset = this.grow(1);
    this.view.setUint8(offset, value);
  }

  u16(value: number): void {
    const offset = this.grow(2);
    this.view.setUint16(offset, value, true);
  }

  u32(value: number): void {
    const offset = this.grow(4);
    this.view.setUint32(offset, value, true);
  }

  u64(value: bigint): void {
    const offset = this.grow(8);
    this.view.setBigUint64(offset, value, true);
  }

  f32(value: number): void {
    const offset = this.grow(4);
    this.view.setFloat32(offset, value, true);
  }

  f64(value: number): void {
    const offset = this.grow(8);
    this.view.setFloat64(offset, value, true);
  }

  raw(bytes: Uint8Array): void {
    const offset = this.grow(bytes.length);
    this.bytes.set(bytes, offset);
  }

  /** `text` as UTF-8 with its length in bytes in front, a u64. */
  string(text: string): void {
    const bytes = encoder.encode(text);
    this.u64(BigInt(bytes.length));
    this.raw(bytes);
  }

  /** Zeros up to a multiple of `alignment`. */
  pad(alignment: number): void {
    const over = this.used % alignment;
    if (over > 0) this.grow(alignment - over);
  }

  /** What was written, as a view: valid until the next write. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.used);
  }

  /** Makes room for `length` more bytes, zero at first; returns their offset. */
  private grow(length: number): number {
    const offset = this.used;
    this.used += length;
    if (this.used > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.used, 2 * this.bytes.length));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return offset;
  }
}
