import { FileFormatError, UnsupportedError, UsageError } from "../../base/errors.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import { familyFormat, groupSize, type QuantizedFormat, rowBytes } from "../../quant/formats.ts";
import { encodeGroups, type Group } from "../../quant/quantizers.ts";
import type { CodeMatrix, LoadedCodes, Parameters } from "./code-matrix.ts";
import { type Grouping, groupingOf } from "./grouping.ts";

/** Keeps the matrix that is being read in memory, one at a time, as they are read in order. */
export class LoadedMatrix {
  private matrix: CodeMatrix | undefined;
  private codes: Promise<LoadedCodes> | undefined;

  load(matrix: CodeMatrix): Promise<LoadedCodes> {
    if (this.matrix !== matrix || this.codes === undefined) {
      this.matrix = matrix;
      this.codes = matrix.load();
    }
    return this.codes;
  }
}

/** A quantized matrix of a checkpoint as a tensor in a format of the family, which has the same codes. */
export class CodeTensor implements StoredTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;
  private readonly format: QuantizedFormat;
  private readonly grouping: Grouping;

  /** Throws `UnsupportedError` for groups that no format of the family has. */
  constructor(
    readonly name: string,
    private readonly matrix: CodeMatrix,
    parameters: Parameters,
    private readonly loaded: LoadedMatrix,
  ) {
    const { tensor, rows, cols, bits, symmetric, groups } = matrix;
    const grouping = groupingOf(groups);
    if (grouping === undefined) {
      throw new UnsupportedError(
        `${tensor.source.name}: tensor ${JSON.stringify(tensor.name)} has groups that are no multiples of 32 inputs`,
      );
    }
    this.grouping = grouping;
    this.format = familyFormat(bits, grouping.group, symmetric);
    this.type = this.format.name;
    this.shape = [cols, rows];
    this.file = tensor.source.name;
    this.byteLength = [...parameters.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get order(): Uint32Array | undefined {
    return this.grouping.order;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const loaded = await this.loaded.load(this.matrix);
    const { cols } = this.matrix;
    const rows = target.length / rowBytes(this.format, cols);
    try {
      encodeGroups(this.format, rows, cols, target, this.groupFiller(first, loaded));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new FileFormatError(this.file, `tensor ${this.name}`, error.message);
    }
  }

  /** Fills groups in the order of the rows from row `first` on. */
  private groupFiller(
    first: number,
    { codes, scales, zeros }: LoadedCodes,
  ): (start: number, end: number, group: Group) => void {
    const { rows, cols } = this.matrix;
    const { order, from } = this.grouping;
    const size = groupSize(this.format, cols);
    const stored = new Uint8Array(cols);
    const sorted = order === undefined ? stored : new Uint8Array(cols);
    return (start, end, group) => {
      const row = first + Math.floor(start / cols);
      const input = start % cols;
      if (input === 0) {
        codes(row, stored);
        if (order !== undefined) for (let i = 0; i < cols; i++) sorted[i] = stored[order[i]!]!;
      }
      const head = from[input / size]! * rows + row;
      group.scale = scales[head]!;
      if (zeros !== undefined) group.zero = zeros[head]!;
      for (let i = 0; i < end - start; i++) group.codes[i] = sorted[input + i]!;
    };
  }
}
