import { UnsupportedError } from "../../base/errors.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import { blockOf, rowBytes } from "../../quant/blocks.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  familyFormat,
  groupsOfBlock,
  type QuantizedFormat,
} from "../../quant/formats.ts";
import type { Latest } from "../latest.ts";
import { ChunkPacker } from "./chunk-packer.ts";
import type { CodeMatrix, LoadedCodes, Parameters } from "./code-matrix.ts";
import { type Grouping, groupingOf } from "./grouping.ts";

/** Rows that are unpacked together: a cache line of the words of checkpoints that have outputs side by side. */
const BLOCK_ROWS = 16;

/** A quantized matrix of a checkpoint as a tensor in a format of the family, which has the same codes. */
export class CodeTensor implements StoredTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;
  private readonly format: QuantizedFormat;
  private readonly grouping: Grouping;
  private readonly places: ReturnType<typeof placesOf>;
  private readonly packer: ChunkPacker;

  /** Throws `UnsupportedError` for groups that no format of the family has. */
  constructor(
    readonly name: string,
    private readonly matrix: CodeMatrix,
    parameters: Parameters,
    private readonly loaded: Latest<LoadedCodes>,
  ) {
    const { tensor, rows, cols, bits, symmetric, groups } = matrix;
    const grouping = groupingOf(groups);
    if (grouping === undefined) {
      throw new UnsupportedError(
        `${tensor.source.name}: tensor ${JSON.stringify(tensor.name)} has groups that are neither of 16 nor multiples of 32 inputs`,
      );
    }
    this.grouping = grouping;
    this.format = familyFormat(bits, grouping.group, symmetric);
    this.places = placesOf(this.format, cols);
    this.packer = new ChunkPacker(this.format);
    this.type = this.format.name;
    this.shape = [cols, rows];
    this.file = tensor.source.name;
    this.byteLength = [...parameters.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get order(): Uint32Array | undefined {
    return this.grouping.order;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const loaded = await this.loaded.get(this.matrix, () => this.matrix.load());
    const { cols } = this.matrix;
    const { order } = this.grouping;
    const stride = rowBytes(this.format, cols);
    const rows = target.length / stride;
    const padded = chunkCount(cols) * CHUNK;
    const stored = new Uint32Array((BLOCK_ROWS * padded) / 4);
    const sorted = order === undefined ? stored : new Uint32Array(stored.length);
    for (let row = 0; row < rows; row += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, rows - row);
      loaded.codes(first + row, count, stored, padded / 4);
      if (order !== undefined) permute(stored, sorted, order, count, padded);
      for (let r = 0; r < count; r++) {
        const into = target.subarray((row + r) * stride, (row + r + 1) * stride);
        this.writeRow(first + row + r, loaded, sorted, (r * padded) / 4, into);
      }
    }
  }

  /** Writes the blocks of a row, whose codes are the quads from `at` on. */
  private writeRow(
    row: number,
    { scales, zeros }: LoadedCodes,
    quads: Uint32Array,
    at: number,
    into: Uint8Array,
  ): void {
    const { rows, cols } = this.matrix;
    const { from } = this.grouping;
    const { scalesAt, zerosAt, codesAt, chunkBytes, blockChunks } = this.places;
    const perBlock = scalesAt.length;
    const chunks = chunkCount(cols);
    for (let group = 0, chunk = 0, block = 0; group < from.length; group += perBlock) {
      for (let g = 0; g < perBlock; g++) {
        const head = from[group + g]! * rows + row;
        const scale = scales[head]!;
        into[block + scalesAt[g]!] = scale;
        into[block + scalesAt[g]! + 1] = scale >>> 8;
        if (zeros !== undefined) into[block + zerosAt[g]!] = zeros[head]!;
      }
      block += codesAt;
      const end = Math.min(chunks, chunk + blockChunks);
      for (; chunk < end; chunk++, block += chunkBytes) {
        this.packer.pack(quads, at + (chunk * CHUNK) / 4, into, block);
      }
    }
  }
}

/** Where things stand in a block; scales and zeros group by group. */
function placesOf(format: QuantizedFormat, cols: number) {
  const block = blockOf(format, cols);
  const groups = Array.from({ length: groupsOfBlock(format, cols) }, (_, g) => g);
  return {
    scalesAt: groups.map((g) => block.scale?.(g)[0]?.byte ?? 0),
    zerosAt: groups.map((g) => block.zero?.(g)[0]?.byte ?? 0),
    codesAt: block.code(0)[0]?.byte ?? 0,
    chunkBytes: block.chunkBytes ?? 0,
    blockChunks: chunkCount(blockSize(format, cols)),
  };
}

/** Rows `padded` bytes apart, their inputs put in an order. */
function permute(from: Uint32Array, to: Uint32Array, order: Uint32Array, rows: number, padded: number): void {
  const [source, target] = [new Uint8Array(from.buffer), new Uint8Array(to.buffer)];
  for (let start = 0; start < rows * padded; start += padded) {
    for (let i = 0; i < order.length; i++) target[start + i] = source[start + order[i]!]!;
  }
}
