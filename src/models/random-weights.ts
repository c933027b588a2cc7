/** Random matrices as a GGUF file stores them, made chunk by chunk. */

import { assert } from "../base/assert.ts";
import { f32ToF16 } from "../base/float16.ts";
import { Rng } from "../base/rng.ts";
import { type BitField, type Block, blockOf, halfAt, rowBytes, writeFields } from "../quant/blocks.ts";
import { blockCount, type Format, groupsOfBlock, type QuantizedFormat } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";
import { dequantizeRows } from "../quant/reference.ts";
import { fileRowBytes, type Repacking, repackBlocks, repackingOf } from "../quant/repacking.ts";

/**
 * Where quantized weights come from. `gaussian`: gaussian weights, rounded to the format as a real model's would be
 * (some 20 MB/s). `codes`: uniformly random codes under scales of about the right size (hundreds of MB/s), for models of
 * billions of weights whose only use is to be timed. Float formats are gaussian, and fast, either way.
 */
export type WeightSource = "gaussian" | "codes";

/** A random matrix: independent weights of mean 0 and standard deviation `std`. */
export interface RandomMatrix {
  readonly format: Format;
  readonly rows: number;
  readonly cols: number;
  readonly std: number;
  readonly seed: number;
  readonly source: WeightSource;
}

/** Bytes of a chunk, about. */
const CHUNK_BYTES = 1 << 20;
/** Values that a gaussian weight is picked from: 16 random bits each. */
const TABLE = 1 << 16;
/** Random scales that a group's is picked from, a power of two. */
const SCALES = 256;

/** The stored bytes of a random matrix. A chunk is valid until the next one is asked for. */
export function randomMatrixBytes(matrix: RandomMatrix): Generator<Uint8Array> {
  const { format } = matrix;
  if (format.kind === "float") return floatChunks(matrix);
  return matrix.source === "codes" ? codeChunks(matrix, format) : quantizedChunks(matrix);
}

/** Rows of each chunk, whole rows always. */
function* rowsOfChunks(rows: number, bytesPerRow: number): Generator<number> {
  const atOnce = Math.max(1, Math.floor(CHUNK_BYTES / bytesPerRow));
  for (let row = 0; row < rows; row += atOnce) yield Math.min(atOnce, rows - row);
}

let unitTable: Float32Array | undefined;

/** A sample of the standard normal distribution, shifted and scaled to mean 0 and variance 1. */
function gaussianTable(): Float32Array {
  if (unitTable !== undefined) return unitTable;
  const rng = new Rng(0x9a055);
  const values = Float64Array.from({ length: TABLE }, () => rng.normal());
  const mean = values.reduce((sum, z) => sum + z, 0) / TABLE;
  const variance = values.reduce((sum, z) => sum + (z - mean) ** 2, 0) / TABLE;
  unitTable = Float32Array.from(values, (z) => (z - mean) / Math.sqrt(variance));
  return unitTable;
}

/** xoshiro128** as in `Rng`, its state in registers while it fills many words: some 15 times as fast. */
class WordSource {
  private readonly state: Int32Array;

  constructor(seed: number) {
    const rng = new Rng(seed);
    this.state = Int32Array.from({ length: 4 }, () => rng.u32());
  }

  fill(words: Uint32Array): void {
    let [s0, s1, s2, s3] = this.state as unknown as [number, number, number, number];
    for (let i = 0; i < words.length; i++) {
      const five = Math.imul(s1, 5);
      words[i] = Math.imul((five << 7) | (five >>> 25), 9);
      const shifted = s1 << 9;
      s2 ^= s0;
      s3 ^= s1;
      s1 ^= s2;
      s0 ^= s3;
      s2 ^= shifted;
      s3 = (s3 << 11) | (s3 >>> 21);
    }
    this.state.set([s0, s1, s2, s3]);
  }
}

/** Fills `out` with random picks from `table`, two for each word. */
function pickInto<T extends Float32Array | Uint16Array | Uint32Array>(
  out: T,
  table: T,
  from: WordSource,
): void {
  const words = new Uint32Array((out.length + 1) >>> 1);
  from.fill(words);
  for (let i = 0; i < out.length; i++) {
    const word = words[i >>> 1]!;
    out[i] = table[(i & 1) === 0 ? word & 0xffff : word >>> 16]!;
  }
}

function* floatChunks({ format, rows, cols, std, seed }: RandomMatrix): Generator<Uint8Array> {
  assert(format.kind === "float", `${format.name} is no float format`);
  const values = gaussianTable().map((z) => std * z);
  const encoded = quantizeRows(format, values, 1, TABLE);
  const words = format.bytes === 2 ? Uint16Array : Uint32Array;
  const table = new words(encoded.slice().buffer);
  const from = new WordSource(seed);
  for (const count of rowsOfChunks(rows, rowBytes(format, cols))) {
    const chunk = new words(count * cols);
    pickInto(chunk, table, from);
    yield new Uint8Array(chunk.buffer);
  }
}

function* quantizedChunks({ format, rows, cols, std, seed }: RandomMatrix): Generator<Uint8Array> {
  const table = gaussianTable().map((z) => std * z);
  const from = new WordSource(seed);
  for (const count of rowsOfChunks(rows, 4 * cols)) {
    const weights = new Float32Array(count * cols);
    pickInto(weights, table, from);
    yield quantizeRows(format, weights, count, cols);
  }
}

/** What of a block is not left to chance, so that weights have the right size. */
interface BlockHeads {
  /** Where its bytes are in a block. */
  readonly places: readonly number[];
  /** `SCALES` choices for those bytes, one behind the other. */
  readonly bytes: Uint8Array;
}

function* codeChunks(matrix: RandomMatrix, format: QuantizedFormat): Generator<Uint8Array> {
  const { rows, cols, seed, std } = matrix;
  const stride = fileRowBytes(format, cols);
  const repacking = repackingOf(format);
  const { bytes: blockBytes } = repacking ?? blockOf(format, cols);
  const blocks = blockCount(format, cols);
  const rng = new Rng(seed);
  const { places, bytes } = repacking
    ? repackedHeads(format, repacking, std, rng)
    : blockHeads(format, cols, std, rng);
  const from = new WordSource(seed);
  let words = new Uint32Array(0);
  for (const count of rowsOfChunks(rows, stride)) {
    const length = Math.ceil((count * stride) / 4);
    if (words.length !== length) words = new Uint32Array(length);
    from.fill(words);
    const chunk = new Uint8Array(words.buffer, 0, count * stride);
    for (let row = 0; row < count; row++) {
      for (let n = 0; n < blocks; n++) {
        const block = row * stride + n * blockBytes;
        // A random byte that stands there picks the head.
        const head = chunk[block + places[0]!]! * places.length;
        for (let i = 0; i < places.length; i++) chunk[block + places[i]!] = bytes[head + i]!;
      }
    }
    yield chunk;
  }
}

/**
 * Scales between ¾ and 5⁄4 of what uniform codes (and integers of groups from the upper half) need, with zeros or minima
 * that make the mean weight 0.
 */
function blockHeads(format: QuantizedFormat, cols: number, std: number, rng: Rng): BlockHeads {
  const block = blockOf(format, cols);
  const groups = groupsOfBlock(format, cols);
  const { mean, size } = weightMoments(format, block);
  const fixed = new Set<number>();
  const image = new Uint8Array(block.bytes);
  const put = (fields: readonly BitField[] | undefined, value: number) => {
    for (const { byte } of fields ?? []) fixed.add(byte);
    writeFields(image, 0, fields ?? [], value);
  };
  const choose = () => {
    const target = ((0.75 + rng.uniform() / 2) * std) / size;
    const sign = mean === 0 && rng.uniform() < 0.5 ? -1 : 1;
    for (let g = 0; g < groups; g++) {
      const integer = groupInteger(format, block, rng);
      const code = format.scale.kind === "product" ? integer : scaleCode(format, sign * target);
      put(block.scale?.(g), code);
      // The same multiple of the mean as of the scale: every group has mean 0.
      if (format.zero.kind === "product") put(block.zero?.(g), integer);
      if (format.zero.kind === "minimum") put(block.zero?.(g), f32ToF16(-target * mean));
      if (format.zero.kind === "code") put(block.zero?.(g), Math.ceil((2 ** format.bits - 1) / 2));
    }
    if (block.halfScale !== undefined) put(halfAt(block.halfScale), f32ToF16(sign * target));
    if (block.halfZero !== undefined) put(halfAt(block.halfZero), f32ToF16(target * mean));
  };
  choose();
  const places = [...fixed].sort((a, b) => a - b);
  const bytes = new Uint8Array(SCALES * places.length);
  for (let i = 0; i < SCALES; i++) {
    choose();
    places.forEach((place, n) => {
      bytes[i * places.length + n] = image[place]!;
    });
  }
  return { places, bytes };
}

/** Blocks of which the size of a random format's weights is found. */
const SAMPLE = 256;

/** Scales of blocks that are re-packed, between ¾ and 5⁄4 of what blocks that are random otherwise need. */
function repackedHeads(
  format: QuantizedFormat,
  { bytes: blockBytes, scale }: Repacking,
  std: number,
  rng: Rng,
): BlockHeads {
  const sample = Uint8Array.from({ length: SAMPLE * blockBytes }, () => rng.integer(256));
  for (let n = 0; n < SAMPLE; n++) writeFields(sample, n * blockBytes, scale, f32ToF16(1));
  const blocks = new Uint8Array(rowBytes(format, SAMPLE * 256));
  repackBlocks(format, sample, blocks);
  const weights = dequantizeRows(format, blocks, 1, SAMPLE * 256);
  const size = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
  const places = [...new Set(scale.map(({ byte }) => byte))];
  const bytes = new Uint8Array(SCALES * places.length);
  for (let i = 0; i < SCALES; i++) {
    const image = Uint8Array.from({ length: blockBytes }, () => rng.integer(256));
    const sign = rng.uniform() < 0.5 ? -1 : 1;
    writeFields(image, 0, scale, f32ToF16((sign * (0.75 + rng.uniform() / 2) * std) / size));
    bytes.set(
      places.map((place) => image[place]!),
      i * places.length,
    );
  }
  return { places, bytes };
}

/** Mean and size (root of the mean square) of weights with uniform codes at scale 1; the mean is 0 without a minimum. */
function weightMoments(format: QuantizedFormat, block: Block): { mean: number; size: number } {
  const { bits, scale, zero } = format;
  const codes = Array.from({ length: 2 ** bits }, (_, q) => format.table?.[q] ?? q);
  const average = codes.reduce((sum, q) => sum + q, 0) / codes.length;
  const hasMinima = zero.kind === "minimum" || zero.kind === "product";
  const middle = hasMinima ? average : zero.kind === "constant" ? zero.value : Math.ceil(average);
  const square = codes.reduce((sum, q) => sum + (q - middle) ** 2, 0) / codes.length;
  const top = topInteger(format, block);
  const integers = Array.from({ length: top - Math.ceil(top / 2) + 1 }, (_, n) => (top - n) ** 2);
  const ofGroups = scale.kind === "product" ? integers.reduce((a, b) => a + b, 0) / integers.length : 1;
  return { mean: hasMinima ? average : 0, size: Math.sqrt(square * ofGroups) };
}

/** The largest integer that a group's scale may be a multiple by, of either sign where there are two. */
function topInteger({ scale }: QuantizedFormat, block: Block): number {
  if (scale.kind !== "product") return 1;
  if (scale.codes.signed) return 127;
  if (scale.codes.offset > 0) return scale.codes.offset - 1;
  return 2 ** (block.scale?.(0) ?? []).reduce((sum, { bits }) => sum + bits, 0) - 1;
}

/** What is stored for a random integer of the upper half. */
function groupInteger(format: QuantizedFormat, block: Block, rng: Rng): number {
  const top = topInteger(format, block);
  const size = top - rng.integer(top - Math.ceil(top / 2) + 1);
  if (format.scale.kind !== "product") return size;
  const { offset, signed } = format.scale.codes;
  return offset + ((offset > 0 || signed) && rng.uniform() < 0.5 ? -size : size);
}

/** A scale of about this size as a format stores it. */
function scaleCode({ scale }: QuantizedFormat, value: number): number {
  switch (scale.kind) {
    case "exponent":
      return Math.max(1, Math.min(254, Math.round(Math.log2(Math.abs(value)) + 128)));
    case "minifloat": {
      const exponent = Math.floor(Math.log2(Math.abs(value))) + 8;
      return Math.max(
        1,
        Math.min(126, exponent * 8 + Math.round((Math.abs(value) / 2 ** (exponent - 8) - 1) * 8)),
      );
    }
    default:
      return f32ToF16(value);
  }
}
