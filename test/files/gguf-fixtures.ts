import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";
import { ByteWriter } from "../../src/base/byte-writer.ts";
import type { ByteSource } from "../../src/files/source.ts";

/** The path of a file in the folder `shared` beside the checkout, which may be absent. */
export function sharedPath(path: string): string {
  return fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));
}

/** The path of a file in the folder `shared`; skips the test where it is absent. */
export function shared(context: TestContext, path: string): string {
  const full = sharedPath(path);
  context.skip(!existsSync(full), `shared/${path} is not there`);
  return full;
}

/** A header written field by field, so that any field can be wrong. */
export class RawGguf extends ByteWriter {
  constructor(tensors: bigint | number, entries: bigint | number, version = 3, magic = "GGUF") {
    super();
    this.raw(new TextEncoder().encode(magic));
    this.u32(version);
    this.u64(BigInt(tensors));
    this.u64(BigInt(entries));
  }

  /** A metadata key with the id of its value's type; the value is to follow. */
  key(name: string, typeId: number): this {
    this.string(name);
    this.u32(typeId);
    return this;
  }

  /** What follows an array's type id. */
  array(elementTypeId: number, length: bigint | number): this {
    this.u32(elementTypeId);
    this.u64(BigInt(length));
    return this;
  }

  tensor(name: string, shape: readonly (bigint | number)[], typeId: number, offset: bigint | number): this {
    this.string(name);
    this.u32(shape.length);
    for (const extent of shape) this.u64(BigInt(extent));
    this.u32(typeId);
    this.u64(BigInt(offset));
    return this;
  }

  /** The header, padded, and `dataBytes` bytes of data. */
  file(dataBytes = 0, alignment = 32): Uint8Array {
    if (dataBytes > 0) this.pad(alignment);
    this.raw(new Uint8Array(dataBytes));
    return this.written().slice();
  }
}

/**
 * A file of `size` bytes that exists only where it is read: it starts with `start` and then repeats `pattern`.
 * Counts in `bytesRead` what was asked for; calls `watch` after every read.
 */
export function endlessSource(
  size: number,
  start: Uint8Array,
  pattern: Uint8Array,
  watch: () => void,
): ByteSource & { bytesRead: number } {
  const tile = new Uint8Array(pattern.length * Math.ceil((1 << 20) / pattern.length));
  for (let i = 0; i < tile.length; i += pattern.length) tile.set(pattern, i);
  const source = {
    name: "endless.gguf",
    size,
    bytesRead: 0,
    async read(offset: number, length: number) {
      const target = new Uint8Array(length);
      await source.readInto(offset, target);
      return target;
    },
    async readInto(offset: number, target: Uint8Array) {
      source.bytesRead += target.length;
      const fromStart = start.subarray(Math.min(offset, start.length));
      target.set(fromStart.subarray(0, target.length));
      let done = Math.min(fromStart.length, target.length);
      while (done < target.length) {
        const phase = (offset + done - start.length) % tile.length;
        const piece = tile.subarray(phase, phase + target.length - done);
        target.set(piece, done);
        done += piece.length;
      }
      watch();
    },
    async close() {},
  };
  return source;
}
