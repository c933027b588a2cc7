/** Random matrices as a GGUF file stores them, made chunk by chunk. */

import { assert } from "../base/assert.ts";
import { f32ToF16 } from "../base/float16.ts";
import { Rng } from "../base/rng.ts";
import { blockLayout, type Format, groupCount, type QuantizedFormat, rowBytes } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";

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

/** What stands before the codes of a group: scale, and minimum or zero. */
interface GroupHeads {
  /** Bytes of a head. */
  readonly length: number;
  /** `SCALES` heads, one behind the other. */
  readonly bytes: Uint8Array;
}

function* codeChunks(matrix: RandomMatrix, format: QuantizedFormat): Generator<Uint8Array> {
  const { rows, cols, seed } = matrix;
  const { codesAt, blockBytes, rowBytes: stride } = blockLayout(format, cols);
  const groups = groupCount(format, cols);
  const heads = groupHeads(format, matrix.std, new Rng(seed));
  assert(heads.length === codesAt, `heads of ${heads.length} bytes, not ${codesAt}`);
  const from = new WordSource(seed);
  let words = new Uint32Array(0);
  for (const count of rowsOfChunks(rows, stride)) {
    const length = Math.ceil((count * stride) / 4);
    if (words.length !== length) words = new Uint32Array(length);
    from.fill(words);
    const chunk = new Uint8Array(words.buffer, 0, count * stride);
    for (let row = 0; row < count; row++) {
      for (let group = 0; group < groups; group++) {
        const block = row * stride + group * blockBytes;
        // The random byte that stands there picks the head.
        const head = chunk[block]! * codesAt;
        for (let i = 0; i < codesAt; i++) chunk[block + i] = heads.bytes[head + i]!;
      }
    }
    yield chunk;
  }
}

/** Scales between ¾ and 5⁄4 of what uniform codes need, with zeros or minima that make the mean weight 0. */
function groupHeads({ bits, zero }: QuantizedFormat, std: number, rng: Rng): GroupHeads {
  const middle = (2 ** bits - 1) / 2;
  const zeroPoint = zero.kind === "constant" ? zero.value : Math.ceil(middle);
  // Uniform codes are `middle` on average. A minimum is the mean's opposite; else half of the scales are negative.
  const offCentre = zero.kind === "minimum" ? 0 : middle - zeroPoint;
  const codeSize = Math.sqrt((4 ** bits - 1) / 12 + offCentre ** 2);
  const length = 2 + (zero.kind === "minimum" ? 2 : zero.kind === "code" ? 1 : 0);
  const bytes = new Uint8Array(SCALES * length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < SCALES; i++) {
    const sign = zero.kind === "minimum" || rng.uniform() < 0.5 ? 1 : -1;
    const scale = (sign * (0.75 + rng.uniform() / 2) * std) / codeSize;
    view.setUint16(i * length, f32ToF16(scale), true);
    if (zero.kind === "minimum") view.setUint16(i * length + 2, f32ToF16(-scale * middle), true);
    if (zero.kind === "code") view.setUint8(i * length + 2, zeroPoint);
  }
  return { length, bytes };
}
