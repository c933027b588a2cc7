import { ByteWriter } from "../base/byte-writer.ts";

const encoder = new TextEncoder();

/** Writes the encodings of the WebAssembly binary format. */
export class WasmBytes extends ByteWriter {
  /** LEB128 of an integer in 0 … 2^32 − 1. */
  unsigned(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.u8((rest % 128) | 128);
    this.u8(rest);
  }

  /** Signed LEB128 of an i32. */
  signed(value: number): void {
    let rest = value | 0;
    for (; rest < -64 || rest > 63; rest >>= 7) this.u8((rest & 127) | 128);
    this.u8(rest & 127);
  }

  name(text: string): void {
    this.sized(encoder.encode(text));
  }

  /** `bytes` with their length in front. */
  sized(bytes: Uint8Array): void {
    this.unsigned(bytes.length);
    this.raw(bytes);
  }

  /** A section or vector of `count` items that `items` holds. */
  section(id: number, count: number, items: WasmBytes): void {
    if (count === 0) return;
    const content = new WasmBytes();
    content.unsigned(count);
    content.raw(items.written());
    this.u8(id);
    this.sized(content.written());
  }
}
