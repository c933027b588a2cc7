import { assert } from "../base/assert.ts";
import { UsageError } from "../base/errors.ts";
import { f16ToF32, f32ToF16 } from "../base/float16.ts";
import { type BitField, type Block, blockOf, halfAt, rowBytes, writeFields } from "../quant/blocks.ts";
import { type CodePlaces, codePlaces, writeCodes } from "../quant/code-places.ts";
import {
  blockCount,
  blockSize,
  type GroupCodes,
  groupCount,
  groupSize,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { LevelSearch, type Line, type LineKind } from "./level-search.ts";

/** Largest finite f16. */
const F16_MAX = 65504;
/** Least normal f16: scales below it would lose their precision, and some engines take them for 0. */
const F16_MIN = 2 ** -14;

/** Columns whose levels must be found together: those of groups whose scales are multiples of one value. */
export function fittedColumns(format: QuantizedFormat, cols: number): number {
  return format.scale.kind === "product" ? blockSize(format, cols) : groupSize(format, cols);
}

/**
 * A matrix in a quantized format, filled in block by block: first the levels that the weights of a block may have, then
 * each weight's code. Columns are slots of the stored form.
 */
export class QuantizedMatrix {
  /** [rows][cols]: codes 0 … 2^bits − 1, unsigned also where the file has two's complement. */
  readonly codes: Uint8Array;
  /** [rows][groups]: weight = scale · (code − zero) + minimum, in the kernels' own arithmetic. */
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  readonly minima: Float32Array;
  readonly group: number;
  readonly groups: number;
  /** Columns whose levels are found together. */
  readonly block: number;
  private readonly blocks: number;
  /** Columns that are stored together. */
  private readonly stored: number;
  /** As stored, of each group and of each block. */
  private readonly scaleCodes: Uint16Array;
  private readonly zeroCodes: Uint16Array;
  private readonly halfScales: Uint16Array;
  private readonly halfZeros: Uint16Array;
  private readonly search: LevelSearch;
  /** A block of a row, and where its codes stand. */
  private readonly layout: Block;
  private readonly places: CodePlaces;
  private readonly top: number;

  /** @param leastZero the least integer zero point */
  constructor(
    readonly format: QuantizedFormat,
    readonly rows: number,
    readonly cols: number,
    leastZero = 0,
  ) {
    assert(format.table === undefined, `${format.name} has a table of values`);
    this.group = groupSize(format, cols);
    this.groups = groupCount(format, cols);
    this.block = fittedColumns(format, cols);
    this.stored = blockSize(format, cols);
    this.blocks = blockCount(format, cols);
    this.top = 2 ** format.bits - 1;
    this.codes = new Uint8Array(rows * cols);
    this.scales = new Float32Array(rows * this.groups);
    this.zeros = new Uint8Array(rows * this.groups);
    this.minima = new Float32Array(rows * this.groups);
    this.scaleCodes = new Uint16Array(rows * this.groups);
    this.zeroCodes = new Uint16Array(rows * this.groups);
    this.halfScales = new Uint16Array(rows * this.blocks);
    this.halfZeros = new Uint16Array(rows * this.blocks);
    this.layout = blockOf(format, cols);
    this.places = codePlaces(this.layout, 0, Math.min(this.stored, cols));
    this.search = new LevelSearch(lineKind(format, leastZero));
  }

  /**
   * Finds the levels of a block of a row from its weights. Throws `UsageError` for weights too large for an f16 scale.
   *
   * @param weights of the block's columns, in order
   */
  fit(row: number, block: number, weights: Float32Array): void {
    const first = row * this.groups + (block * this.block) / this.group;
    const lines: Line[] = [];
    for (let from = 0; from < weights.length; from += this.group) {
      const to = Math.min(from + this.group, weights.length);
      lines.push(this.search.find(weights.subarray(from, to)));
    }
    if (this.format.scale.kind === "product") this.storeProducts(row * this.blocks + block, first, lines);
    else for (const [g, line] of lines.entries()) this.storeGroup(first + g, line);
  }

  private storeGroup(group: number, { scale, offset }: Line): void {
    const { zero } = this.format;
    this.scaleCodes[group] = halfOf(scale);
    this.scales[group] = f16ToF32(this.scaleCodes[group]!);
    if (zero.kind === "minimum") {
      this.zeroCodes[group] = halfOf(offset);
      this.minima[group] = f16ToF32(this.zeroCodes[group]!);
      return;
    }
    this.zeros[group] = zero.kind === "constant" ? zero.value : Math.round(-offset / scale);
    this.zeroCodes[group] = this.zeros[group]!;
  }

  /** Scales and minima as integers times halves of the block. */
  private storeProducts(at: number, first: number, lines: readonly Line[]): void {
    const { scale, zero } = this.format;
    const { layout: stored } = this;
    assert(scale.kind === "product", "scales of their own");
    const scales = lines.map((line) => line.scale);
    const found = integersOf(scales, scale.codes, stored.scale?.(0));
    this.halfScales[at] = found.half;
    const unit = f16ToF32(found.half);
    const minima =
      zero.kind === "product"
        ? integersOf(
            lines.map(({ offset }) => -offset),
            zero.codes,
            stored.zero?.(0),
          )
        : undefined;
    if (minima !== undefined) this.halfZeros[at] = minima.half;
    lines.forEach((_, g) => {
      const integer = found.integers[g]!;
      this.scaleCodes[first + g] = integer + scale.codes.offset;
      this.scales[first + g] = unit * integer;
      this.zeros[first + g] = zero.kind === "constant" ? zero.value : 0;
      if (minima === undefined) return;
      this.zeroCodes[first + g] = minima.integers[g]!;
      this.minima[first + g] = -f16ToF32(minima.half) * minima.integers[g]!;
    });
  }

  /** Takes the nearest code for a weight; returns the value that it has then. */
  round(row: number, slot: number, weight: number): number {
    const g = row * this.groups + Math.floor(slot / this.group);
    const [scale, zero, minimum] = [this.scales[g]!, this.zeros[g]!, this.minima[g]!];
    let code = scale === 0 ? zero : Math.floor((weight - minimum) / scale + zero + 0.5);
    if (code < 0) code = 0;
    else if (code > this.top) code = this.top;
    this.codes[row * this.cols + slot] = code;
    return Math.fround(Math.fround(scale * (code - zero)) + minimum);
  }

  /** The values of a row, into `into`. */
  values(row: number, into: Float32Array): void {
    const { cols, group, groups } = this;
    for (let i = 0; i < cols; i++) {
      const g = row * groups + Math.floor(i / group);
      const code = this.codes[row * cols + i]!;
      into[i] = Math.fround(this.scales[g]! * (code - this.zeros[g]!)) + this.minima[g]!;
    }
  }

  /** f16 bits of the scale of a group, for formats whose groups have one of their own. */
  halfScale(row: number, group: number): number {
    return this.scaleCodes[row * this.groups + group]!;
  }

  /** The rows as a file has them: row-major blocks of the format. */
  encode(first: number, count: number): Uint8Array {
    const { format, cols, blocks, layout, stored, codes, places } = this;
    const stride = rowBytes(format, cols);
    const bytes = new Uint8Array(count * stride);
    const flip = format.signedCodes ? 2 ** (format.bits - 1) : 0;
    for (let row = first; row < first + count; row++) {
      for (let b = 0; b < blocks; b++) {
        const to = (row - first) * stride + b * layout.bytes;
        const from = b * stored;
        this.writeHead(bytes, to, row, b);
        writeCodes(codes, row * cols + from, Math.min(stored, cols - from), flip, places, bytes, to);
      }
    }
    return bytes;
  }

  /** What the weights of a block share. */
  private writeHead(bytes: Uint8Array, to: number, row: number, block: number): void {
    const { layout: stored } = this;
    const { halfScale, halfZero } = stored;
    if (halfScale !== undefined)
      writeFields(bytes, to, halfAt(halfScale), this.halfScales[row * this.blocks + block]!);
    if (halfZero !== undefined)
      writeFields(bytes, to, halfAt(halfZero), this.halfZeros[row * this.blocks + block]!);
    const perBlock = this.stored / this.group;
    for (let g = 0; g < perBlock; g++) {
      const group = row * this.groups + block * perBlock + g;
      writeFields(bytes, to, stored.scale?.(g) ?? [], this.scaleCodes[group]!);
      writeFields(bytes, to, stored.zero?.(g) ?? [], this.zeroCodes[group]!);
    }
  }
}

function halfOf(value: number): number {
  if (Math.abs(value) > F16_MAX) throw new UsageError("weights too large for an f16 scale");
  return f32ToF16(value);
}

/** What a format can store of a group. */
function lineKind({ bits, scale, zero }: QuantizedFormat, leastZero: number): LineKind {
  const top = 2 ** bits - 1;
  const half = (value: number) => {
    if (Math.abs(value) > F16_MAX) throw new UsageError("weights too large for an f16 scale");
    const rounded = f16ToF32(f32ToF16(value));
    return rounded !== 0 && Math.abs(rounded) < F16_MIN ? Math.sign(rounded) * F16_MIN : rounded;
  };
  const own = scale.kind === "half" ? half : (value: number) => value;
  switch (zero.kind) {
    case "constant":
      return {
        top,
        zero: zero.value,
        settle: (line) => {
          const value = own(line.scale);
          return { scale: value, offset: -value * zero.value };
        },
      };
    case "code":
      return {
        top,
        zero: "code",
        settle: (line) => {
          // A group of zeros has a scale all the same, which gives it its zero point.
          const value = half(line.scale) || F16_MIN;
          const code = Math.max(leastZero, Math.min(top, Math.round(-line.offset / value)));
          return { scale: value, offset: -value * code };
        },
      };
    case "minimum":
      return {
        top,
        zero: "minimum",
        settle: (line) => ({ scale: half(line.scale), offset: half(line.offset) }),
      };
    case "product":
      return {
        top,
        zero: "negative",
        settle: ({ scale: value, offset }) => ({ scale: Math.max(0, value), offset: Math.min(0, offset) }),
      };
  }
}

/** Values as integers of the stored width times a half: the one of largest magnitude gets the largest integer. */
function integersOf(
  values: readonly number[],
  { offset, signed }: GroupCodes,
  fields: readonly BitField[] = [],
): { readonly half: number; readonly integers: readonly number[] } {
  const bits = fields.reduce((sum, field) => sum + field.bits, 0);
  const [least, most] = signed
    ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    : [-offset, 2 ** bits - 1 - offset];
  const extreme = values.reduce((one, other) => (Math.abs(other) > Math.abs(one) ? other : one), 0);
  // Where integers have signs, the lowest is the one of largest magnitude.
  const half = halfOf(extreme / (least < 0 ? least : most));
  const unit = f16ToF32(half);
  const integers = values.map((value) =>
    unit === 0 ? 0 : Math.max(least, Math.min(most, Math.round(value / unit))),
  );
  return { half, integers };
}
