import { at } from "../base/assert.ts";
import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import { rowBytes } from "../quant/blocks.ts";
import { formatNamed } from "../quant/formats.ts";
import type { StoredTensor } from "./model-file.ts";

/** Tensors of one type and shape as one, one behind the other: vectors as rows, matrices as a stack. */
export class StackedTensor implements StoredTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;

  constructor(
    readonly name: string,
    private readonly parts: readonly StoredTensor[],
  ) {
    const { type, shape, file } = at(parts, 0);
    this.type = type;
    this.shape = [...shape, parts.length];
    this.file = file;
    this.byteLength = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const [cols = 1, ...extents] = at(this.parts, 0).shape;
    const rows = extents.reduce((product, extent) => product * extent, 1);
    const stride = rowBytes(formatNamed(this.type), cols);
    for (let done = 0; done * stride < target.length; ) {
      const row = first + done;
      const left = rows - (row % rows);
      const part = target.subarray(done * stride, (done + left) * stride);
      await at(this.parts, Math.floor(row / rows)).readRows(row % rows, part);
      done += left;
    }
  }
}

/**
 * The parts 0, 1, … of a tensor as one. Throws `FileFormatError` where they are not alike, or one is missing, and
 * `UnsupportedError` where inputs are in an order of their own, which could be another one for every part.
 */
export function stackOf(name: string, parts: ReadonlyMap<number, StoredTensor>): StackedTensor {
  const sorted = [...parts].sort(([a], [b]) => a - b);
  const [least, first] = at(sorted, 0);
  sorted.forEach(([number, { file, type, shape, order }], i) => {
    const error = (problem: string) => new FileFormatError(file, `tensor ${name}`, problem);
    if (number !== i) throw error(`there is a part ${number}, but no part ${i}`);
    if (type !== first.type || `${shape}` !== `${first.shape}`) {
      throw error(`part ${number} is not like part ${least}`);
    }
    if (order !== undefined) {
      throw new UnsupportedError(
        `${file}: tensor ${name}: experts whose inputs are in groups by an order of their own (desc_act) are not supported`,
      );
    }
  });
  return new StackedTensor(
    name,
    sorted.map(([, tensor]) => tensor),
  );
}
