import type { GgufMetadata } from "./gguf-metadata.ts";
import type { ByteSource } from "./source.ts";

/** A tensor of a model, and how its weights are read, wherever and however they are kept. */
export interface StoredTensor {
  readonly name: string;
  /** Name of the format that `readRows` gives. */
  readonly type: string;
  /** ggml's order: `shape[0]` is the row, contiguous in memory; empty for a scalar. Each at least 1. */
  readonly shape: readonly number[];
  /** What errors call the file that has it. */
  readonly file: string;
  /** Bytes that it takes in its file (or files). */
  readonly byteLength: number;
  /** Weight i of a stored row is for input `order[i]`; absent where that is i. */
  readonly order?: Uint32Array | undefined;
  /**
   * Fills `target` with whole rows from row `first` on, one after the other, in the row-major form of `type`. Rows of all
   * dimensions above the first count on. Throws `FileAccessError`, and `FileFormatError` for weights that have no such form.
   */
  readRows(first: number, target: Uint8Array): Promise<void>;
}

/** What a model is made from: metadata in GGUF's terms, and tensors by name, in the file's order. */
export interface ModelFile {
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** A tensor that is a stretch of a file, with its rows as they are read. */
export class PlainTensor<T extends string = string> implements StoredTensor {
  /**
   * @param offset in the file, of the data (bytes)
   * @param byteLength of the data, a multiple of the number of rows
   */
  constructor(
    readonly name: string,
    readonly type: T,
    readonly shape: readonly number[],
    readonly source: ByteSource,
    readonly offset: number,
    readonly byteLength: number,
  ) {}

  get file(): string {
    return this.source.name;
  }

  readRows(first: number, target: Uint8Array): Promise<void> {
    const rows = this.shape.slice(1).reduce((product, extent) => product * extent, 1);
    return this.source.readInto(this.offset + first * (this.byteLength / rows), target);
  }
}
