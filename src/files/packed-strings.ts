import { at } from "../base/assert.ts";
import { ByteWriter } from "../base/byte-writer.ts";

const LENGTH_BYTES = 8;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Strings as GGUF stores them: each a length in bytes (u64) and then UTF-8, one behind the other. Decoded only
 * where they are asked for, so that a vocabulary takes little more memory than it does in the file, and bytes that
 * are not UTF-8 survive being copied. (Decoded, such bytes become U+FFFD.)
 */
export class PackedStrings implements Iterable<string> {
  /** `ends[i]`: offset in `bytes` behind string `i`. */
  constructor(
    readonly bytes: Uint8Array,
    private readonly ends: Uint32Array,
  ) {}

  static from(texts: readonly string[]): PackedStrings {
    const to = new ByteWriter();
    const ends = new Uint32Array(texts.length);
    for (const [i, text] of texts.entries()) {
      to.string(text);
      ends[i] = to.length;
    }
    return new PackedStrings(to.written().slice(), ends);
  }

  get length(): number {
    return this.ends.length;
  }

  at(index: number): string {
    const start = (index === 0 ? 0 : at(this.ends, index - 1)) + LENGTH_BYTES;
    return decoder.decode(this.bytes.subarray(start, at(this.ends, index)));
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }
}
