import { at } from "../base/assert.ts";
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
    const { type, shape, file, byteLength } = at(parts, 0);
    this.type = type;
    this.shape = [...shape, parts.length];
    this.file = file;
    this.byteLength = parts.length * byteLength;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const [, ...extents] = at(this.parts, 0).shape;
    const rows = extents.reduce((product, extent) => product * extent, 1);
    const stride = this.byteLength / this.parts.length / rows;
    for (let done = 0; done * stride < target.length; ) {
      const row = first + done;
      const left = rows - (row % rows);
      const part = target.subarray(done * stride, (done + left) * stride);
      await at(this.parts, Math.floor(row / rows)).readRows(row % rows, part);
      done += left;
    }
  }
}
