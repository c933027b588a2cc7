import { at } from "../../base/assert.ts";
import { UnsupportedError } from "../../base/errors.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import { type BitField, type Block, blockOf, rowBytes } from "../../quant/blocks.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  familyFormat,
  groupsOfBlock,
  type QuantizedFormat,
} from "../../quant/formats.ts";
import { reorderStreams, wordsOf } from "./bit-fields.ts";
import type { CodeLoader } from "./code-loader.ts";
import type { CodeMatrix, LoadedCodes, Parameters } from "./code-matrix.ts";
import { groupingOf } from "./grouping.ts";

/** Rows that are read together: 256 bytes of each line of words that a checkpoint with outputs side by side has. */
const BLOCK_ROWS = 64;

/** A quantized matrix of a checkpoint as a tensor in a format of the family, which has the same codes. */
export class CodeTensor implements StoredTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;
  readonly order: Uint32Array | undefined;
  private readonly format: QuantizedFormat;
  /** The checkpoint's group of each stored group. */
  private readonly from: Uint32Array;
  private readonly load: CodeMatrix["load"];

  /** Throws `UnsupportedError` for groups that no format of the family has. */
  constructor(
    readonly name: string,
    { tensor, rows, cols, bits, symmetric, groups, load }: CodeMatrix,
    parameters: Parameters,
    private readonly loader: CodeLoader,
  ) {
    const grouping = groupingOf(groups);
    if (grouping === undefined) {
      throw new UnsupportedError(
        `${tensor.source.name}: tensor ${JSON.stringify(tensor.name)} has groups that are neither of 16 nor multiples of 32 inputs`,
      );
    }
    this.from = grouping.from;
    this.order = grouping.order;
    this.format = familyFormat(bits, grouping.group, symmetric);
    this.type = this.format.name;
    this.shape = [cols, rows];
    this.file = tensor.source.name;
    this.byteLength = [...parameters.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.load = load;
  }

  readRows(first: number, target: Uint8Array): Promise<void> {
    return this.loader.use(this, this.load, (codes) => this.writeRows(codes, first, target));
  }

  private writeRows(codes: LoadedCodes, first: number, target: Uint8Array): void {
    const [cols = 1] = this.shape;
    const places = placesOf(this.format, cols, this.from.length);
    const stride = rowBytes(this.format, cols);
    const rows = target.length / stride;
    const stored = new Uint32Array(BLOCK_ROWS * places.words.length);
    const sorted = this.order === undefined ? stored : new Uint32Array(stored.length);
    const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    for (let row = 0; row < rows; row += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, rows - row);
      codes.words(first + row, count, stored);
      if (this.order !== undefined) reorderStreams(stored, sorted, this.order, this.format.bits, count);
      const into = { view, start: row * stride, stride, count };
      writeWords(sorted, places.words, into);
      this.writeGroups(first + row, codes, places, into);
    }
  }

  private writeGroups(row: number, { scales, zeros }: LoadedCodes, places: Places, into: Rows): void {
    const [, rows = 1] = this.shape;
    const { view, start, stride, count } = into;
    this.from.forEach((group, g) => {
      const from = group * rows + row;
      const scaleAt = start + places.scales[g]!;
      for (let r = 0; r < count; r++) view.setUint16(scaleAt + r * stride, scales[from + r]!, true);
      if (zeros === undefined) return;
      const zeroAt = start + places.zeros[g]!;
      for (let r = 0; r < count; r++) view.setUint8(zeroAt + r * stride, zeros[from + r]!);
    });
  }
}

/** Rows of blocks in memory: `count` of them from byte `start` on, `stride` bytes apart. */
interface Rows {
  readonly view: DataView;
  readonly start: number;
  readonly stride: number;
  readonly count: number;
}

/** Where a row has the words of its codes, and the scales and zero points of its groups, in bytes from its start on. */
interface Places {
  readonly words: Uint32Array;
  readonly scales: Uint32Array;
  readonly zeros: Uint32Array;
}

function placesOf(format: QuantizedFormat, cols: number, groups: number): Places {
  const block = blockOf(format, cols);
  const perBlock = groupsOfBlock(format, cols);
  const blockWords = wordsOf(blockSize(format, cols), format.bits);
  const words = wordsOf(chunkCount(cols) * CHUNK, format.bits);
  const ofGroups = (fields: Block["scale"]) =>
    Uint32Array.from({ length: fields === undefined ? 0 : groups }, (_, g) => {
      return Math.floor(g / perBlock) * block.bytes + firstByte(fields?.(g % perBlock));
    });
  return {
    words: Uint32Array.from({ length: words }, (_, w) => {
      return Math.floor(w / blockWords) * block.bytes + firstByte(block.code(0)) + 4 * (w % blockWords);
    }),
    scales: ofGroups(block.scale),
    zeros: ofGroups(block.zero),
  };
}

function firstByte(fields: readonly BitField[] = []): number {
  return at(fields, 0).byte;
}

function writeWords(words: Uint32Array, places: Uint32Array, { view, start, stride, count }: Rows): void {
  for (let w = 0, from = 0; w < places.length; w++) {
    const end = from + count;
    for (let to = start + places[w]!; from < end; from++, to += stride)
      view.setUint32(to, words[from]!, true);
  }
}
