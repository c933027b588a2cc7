/** Tensors that a checkpoint has in another form than GGUF. */

import { at } from "../base/assert.ts";
import type { StoredTensor } from "../files/model-file.ts";
import { rowBytes } from "../quant/blocks.ts";
import { formatNamed } from "../quant/formats.ts";
import { dequantizeRows } from "../quant/reference.ts";
import type { Latest } from "./latest.ts";

/** Rows that lie together. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

/** The rows that runs have, one after the other; all `count` in their own order without them. */
export function rowsOf(runs: Iterable<Run> | undefined, count: number): Uint32Array {
  const rows = Uint32Array.from({ length: count }, (_, r) => r);
  let to = 0;
  for (const { first, count } of runs ?? []) for (let i = 0; i < count; i++) rows[to++] = first + i;
  return rows;
}

/** The order that undoes another: where each run of it goes. */
export function inverseRuns(runs: Iterable<Run>): readonly Run[] {
  let to = 0;
  const places = Array.from(runs, ({ first, count }) => {
    const place = { first: to, count, from: first };
    to += count;
    return place;
  });
  return places.sort((a, b) => a.from - b.from);
}

/** A matrix whose rows, or a vector whose elements, are those of another in another order: one run after the other. */
export class RearrangedTensor implements StoredTensor {
  constructor(
    private readonly from: StoredTensor,
    private readonly runs: () => Iterable<Run>,
  ) {}

  get name(): string {
    return this.from.name;
  }

  get type(): string {
    return this.from.type;
  }

  get shape(): readonly number[] {
    return this.from.shape;
  }

  get file(): string {
    return this.from.file;
  }

  get byteLength(): number {
    return this.from.byteLength;
  }

  get order(): Uint32Array | undefined {
    return this.from.order;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const [cols = 1, ...others] = this.shape;
    const format = formatNamed(this.type);
    if (others.length > 0) {
      const stride = rowBytes(format, cols);
      for (const { source, to } of this.piecesOf(first, target, stride)) await this.from.readRows(source, to);
      return;
    }
    const whole = new Uint8Array(rowBytes(format, cols));
    await this.from.readRows(0, whole);
    const stride = whole.length / cols;
    for (const { source, to } of this.piecesOf(0, target, stride)) {
      to.set(whole.subarray(source * stride, source * stride + to.length));
    }
  }

  /** Which rows of the other tensor fill which part of the target, that is to have rows from `first` on. */
  private *piecesOf(first: number, target: Uint8Array, stride: number) {
    const end = first + target.length / stride;
    let start = 0;
    for (const run of this.runs()) {
      const [from, to] = [Math.max(first, start), Math.min(end, start + run.count)];
      if (from < to) {
        const bytes = target.subarray((from - first) * stride, (to - first) * stride);
        yield { source: run.first + from - start, to: bytes };
      }
      start += run.count;
    }
  }
}

/** Columns of a stored matrix: from `first` on, `step` apart. */
export interface Columns {
  readonly first: number;
  readonly step: number;
}

/** A matrix that stands in its file with inputs as rows; or some columns of it, which are its rows here. */
export class TransposedTensor implements StoredTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;

  /** @param held keeps the elements as they stand in the file */
  constructor(
    private readonly from: StoredTensor,
    private readonly held: Latest<Elements>,
    private readonly columns: Columns = { first: 0, step: 1 },
  ) {
    const [width = 1, cols = 1] = from.shape;
    this.name = from.name;
    this.type = from.type;
    this.shape = [cols, Math.ceil((width - columns.first) / columns.step)];
    this.file = from.file;
    this.byteLength = from.byteLength / columns.step;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const [width = 1, cols = 1] = this.from.shape;
    const elements = await this.held.get(this, () => this.elements());
    const count = target.length / (cols * elements.BYTES_PER_ELEMENT);
    const { first: start, step } = this.columns;
    const transposed = elements.slice(0, count * cols);
    for (let col = 0; col < cols; col++) {
      let from = col * width + start + first * step;
      for (let row = 0, to = col; row < count; row++, to += cols, from += step)
        transposed[to] = elements[from]!;
    }
    target.set(new Uint8Array(transposed.buffer));
  }

  private async elements(): Promise<Elements> {
    const [width = 1, cols = 1] = this.from.shape;
    const bytes = new Uint8Array(cols * rowBytes(formatNamed(this.type), width));
    await this.from.readRows(0, bytes);
    return bytes.length === 4 * cols * width ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  }
}

/** A tensor under another name or in another shape of as many weights. */
export class RenamedTensor implements StoredTensor {
  readonly type: string;
  readonly file: string;
  readonly byteLength: number;

  constructor(
    private readonly from: StoredTensor,
    readonly name: string,
    readonly shape: readonly number[],
  ) {
    this.type = from.type;
    this.file = from.file;
    this.byteLength = from.byteLength;
  }

  readRows(first: number, target: Uint8Array): Promise<void> {
    return this.from.readRows(first, target);
  }
}

/** The bits of floats. */
export type Elements = Uint32Array | Uint16Array;

/** Some rows of a tensor, or some elements of a vector, as a tensor. */
export class SlicedTensor implements StoredTensor {
  readonly type: string;
  readonly file: string;
  readonly byteLength: number;

  /** @param first row of the other tensor, or element */
  constructor(
    private readonly from: StoredTensor,
    readonly name: string,
    private readonly first: number,
    readonly shape: readonly number[],
  ) {
    const size = (extents: readonly number[]) => extents.reduce((product, extent) => product * extent, 1);
    this.type = from.type;
    this.file = from.file;
    this.byteLength = (from.byteLength / size(from.shape)) * size(shape);
  }

  get order(): Uint32Array | undefined {
    return this.from.order;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    if (this.from.shape.length > 1) return this.from.readRows(this.first + first, target);
    const whole = new Uint8Array(rowBytes(formatNamed(this.type), at(this.from.shape, 0)));
    await this.from.readRows(0, whole);
    const start = (this.first * whole.length) / at(this.from.shape, 0);
    target.set(whole.subarray(start, start + target.length));
  }
}

/** A vector w as w + `by`, in f32. */
export class ShiftedVector implements StoredTensor {
  readonly name: string;
  readonly type = "F32";
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;

  constructor(
    private readonly from: StoredTensor,
    private readonly by: number,
  ) {
    this.name = from.name;
    this.shape = from.shape;
    this.file = from.file;
    this.byteLength = from.byteLength;
  }

  async readRows(_first: number, target: Uint8Array): Promise<void> {
    const format = formatNamed(this.from.type);
    const length = at(this.shape, 0);
    const bytes = new Uint8Array(rowBytes(format, length));
    await this.from.readRows(0, bytes);
    const sums = dequantizeRows(format, bytes, 1, length).map((weight) => weight + this.by);
    target.set(new Uint8Array(sums.buffer, sums.byteOffset, sums.byteLength));
  }
}
