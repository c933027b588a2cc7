import { assert, at } from "../base/assert.ts";
import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { ModelFile } from "../files/model-file.ts";
import { ggufTensor } from "../files/repacked-tensor.ts";
import { type ByteSource, checkRange } from "../files/source.ts";
import { formatNamed } from "../quant/formats.ts";
import { fileRowBytes } from "../quant/repacking.ts";
import type { RandomModel, RandomTensor } from "./random-model.ts";

/** A random model as if it were a file, in formats that files may lack. */
export interface RandomFile {
  readonly file: ModelFile;
  readonly source: ByteSource;
}

/**
 * A random model that is read without being written. Each tensor repeats its first 1 MiB of rows, or so: to draw all
 * rows would take longer than the rest of loading, and no kernel's time depends on it.
 *
 * @param name what errors call the file
 */
export function randomFile(name: string, { metadata, tensors }: RandomModel<string>): RandomFile {
  const places: Place[] = [];
  let size = 0;
  for (const { type, shape } of tensors) {
    const [cols = 1, ...others] = shape;
    const rows = others.reduce((product, extent) => product * extent, 1);
    const byteLength = rows * fileRowBytes(formatNamed(type), cols);
    places.push({ offset: size, byteLength });
    size += byteLength;
  }
  const source = randomSource(name, size, new RandomBytes(tensors, places));
  const stored = tensors.map(({ name, type, shape }, i) => {
    const { offset, byteLength } = at(places, i);
    return ggufTensor(name, type, shape, source, offset, byteLength);
  });
  return {
    file: {
      metadata: new GgufMetadata(name, metadata),
      tensors: new Map(stored.map((tensor) => [tensor.name, tensor])),
    },
    source,
  };
}

/** Where a tensor lies in the source. */
interface Place {
  readonly offset: number;
  readonly byteLength: number;
}

function randomSource(name: string, size: number, bytes: RandomBytes): ByteSource {
  const source: ByteSource = {
    name,
    size,
    async read(offset, length) {
      checkRange(source, offset, length);
      const target = new Uint8Array(length);
      bytes.fill(target, offset);
      return target;
    },
    async readInto(offset, target) {
      checkRange(source, offset, target.length);
      bytes.fill(target, offset);
    },
    async close() {},
  };
  return source;
}

/** The bytes of the tensors, one behind the other. Holds the rows of one tensor at a time, as they are read in order. */
class RandomBytes {
  private held: { readonly tensor: number; readonly rows: Uint8Array } | undefined;

  constructor(
    private readonly tensors: readonly RandomTensor<string>[],
    private readonly places: readonly Place[],
  ) {}

  fill(target: Uint8Array, offset: number): void {
    for (let done = 0; done < target.length; ) {
      const tensor = this.tensorAt(offset + done);
      const { offset: start, byteLength } = at(this.places, tensor);
      const within = offset + done - start;
      const rows = this.rowsOf(tensor);
      const from = within % rows.length;
      const count = Math.min(rows.length - from, byteLength - within, target.length - done);
      target.set(rows.subarray(from, from + count), done);
      done += count;
    }
  }

  private tensorAt(offset: number): number {
    const found = this.places.findIndex(({ offset: start, byteLength }) => offset < start + byteLength);
    assert(found >= 0, `no tensor at offset ${offset}`);
    return found;
  }

  private rowsOf(tensor: number): Uint8Array {
    if (this.held?.tensor !== tensor) {
      const [rows] = (this.tensors[tensor] as RandomTensor<string>).data();
      assert(rows !== undefined, `tensor ${tensor} has no rows`);
      this.held = { tensor, rows };
    }
    return this.held.rows;
  }
}
