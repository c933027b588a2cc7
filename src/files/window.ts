import { ByteReader } from "../base/bytes.ts";
import type { ByteSource } from "./source.ts";

const FIRST_WINDOW = 64 << 10;
const LARGEST_WINDOW = 4 << 20;

/**
 * Reads a header from the front of a source through a window that moves forward, so that the header is never in
 * memory whole. `need` moves the window; the reads inherited from `ByteReader` then work within it.
 */
export class WindowReader extends ByteReader {
  private windowBytes = FIRST_WINDOW;

  /** `limit`: offset in the file (bytes) that the header may not pass. */
  constructor(
    private readonly source: ByteSource,
    private readonly limit: number,
  ) {
    super(source.name, new Uint8Array(0));
  }

  /** Bytes between the position and the end of the file. */
  get left(): number {
    return this.source.size - this.position;
  }

  /** Makes the next `length` bytes readable; a `FileFormatError` on `field` if the file or the limit ends first. */
  async need(length: number, field: string): Promise<void> {
    if (length <= this.remaining) return;
    const { position, left } = this;
    if (length > left) {
      const problem = `needs ${length} bytes at offset ${position}, but the file ends after ${left} more`;
      throw this.error(field, problem);
    }
    if (position + length > this.limit) {
      throw this.error(field, `the header passes the limit of ${this.limit} bytes`);
    }
    const ahead = Math.max(length, this.windowBytes);
    this.refill(await this.source.read(position, Math.min(ahead, left)), position);
    this.windowBytes = Math.min(2 * this.windowBytes, LARGEST_WINDOW);
  }

  /** A copy of the bytes from `start` (an offset in the file) to the position, read again if they are gone. */
  async since(start: number): Promise<Uint8Array> {
    const { base, position } = this;
    if (start < base) return this.source.read(start, position - start);
    return new Uint8Array(this.bytes.subarray(start - base, position - base));
  }
}
