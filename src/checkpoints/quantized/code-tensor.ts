import { UnsupportedError } from "../../base/errors.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import { rowBytes } from "../../quant/blocks.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  familyFormat,
  groupsOfBlock,
  type QuantizedFormat,
} from "../../quant/formats.ts";
import type { Latest } from "../latest.ts";
import { reorderStreams, wordsOf } from "./bit-fields.ts";
import type { CodeMatrix, LoadedCodes, Parameters } from "./code-matrix.ts";
import { groupingOf } from "./grouping.ts";

/** Rows that are read together: a cache line of the words of checkpoints that have outputs side by side. */
const BLOCK_ROWS = 16;

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
    private readonly loaded: Latest<LoadedCodes>,
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

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const loaded = await this.loaded.get(this, this.load);
    const [cols = 1] = this.shape;
    const { bits } = this.format;
    const stride = rowBytes(this.format, cols);
    const rows = target.length / stride;
    const width = wordsOf(chunkCount(cols) * CHUNK, bits);
    const stored = new Uint32Array(BLOCK_ROWS * width);
    const sorted = this.order === undefined ? stored : new Uint32Array(stored.length);
    const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    for (let row = 0; row < rows; row += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, rows - row);
      loaded.words(first + row, count, stored, width);
      if (this.order !== undefined) reorderStreams(stored, sorted, this.order, bits, count, width);
      for (let r = 0; r < count; r++) {
        this.writeRow(first + row + r, loaded, sorted.subarray(r * width), view, (row + r) * stride);
      }
    }
  }

  /** Writes the blocks of a row, whose codes are a stream of words, to bytes from `start` on. */
  private writeRow(
    row: number,
    { scales, zeros }: LoadedCodes,
    words: Uint32Array,
    into: DataView,
    start: number,
  ): void {
    const [cols = 1, rows = 1] = this.shape;
    const perBlock = groupsOfBlock(this.format, cols);
    const blockWords = wordsOf(blockSize(this.format, cols), this.format.bits);
    const allWords = wordsOf(chunkCount(cols) * CHUNK, this.format.bits);
    let at = start;
    for (let first = 0, word = 0; first < this.from.length; first += perBlock) {
      const end = first + perBlock;
      for (let group = first; group < end; group++, at += 2) {
        into.setUint16(at, scales[this.from[group]! * rows + row]!, true);
      }
      if (zeros !== undefined) {
        for (let group = first; group < end; group++) {
          into.setUint8(at++, zeros[this.from[group]! * rows + row]!);
        }
      }
      const endWord = end < this.from.length ? word + blockWords : allWords;
      for (; word < endWord; word++, at += 4) into.setUint32(at, words[word]!, true);
    }
  }
}
