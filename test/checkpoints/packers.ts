/** Quantized matrices as checkpoints store them, written bit by bit from the formats' definitions. */

import { at } from "../../src/base/assert.ts";
import { f16ToF32, f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import type { Rng } from "../../src/base/rng.ts";
import type { TensorData } from "../files/safetensors-fixtures.ts";

/** A quantized matrix: weight (o, i) = scales[o][g] · (codes[o][i] − zeros[o][g]), g = groups[i]. */
export interface Quantized {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: number;
  readonly codes: readonly (readonly number[])[];
  readonly zeros: readonly (readonly number[])[];
  readonly scales: readonly (readonly number[])[];
  readonly groups: readonly number[];
  readonly groupCount: number;
}

export interface Choice {
  readonly bits: number;
  /** Inputs of a group; −1: all. */
  readonly group: number;
  readonly symmetric: boolean;
  /** Inputs are in groups by an order of their own. */
  readonly ordered?: boolean;
}

const matrix = (rows: number, cols: number, value: (row: number, col: number) => number) =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: cols }, (_, col) => value(row, col)));

/** Random codes and zero points, corner values among them; weights of standard deviation about 1 / √inputs. */
export function randomQuantized(outputs: number, inputs: number, choice: Choice, rng: Rng): Quantized {
  const { bits, group, symmetric, ordered } = choice;
  const size = group === -1 ? inputs : group;
  const groupCount = Math.ceil(inputs / size);
  const top = 2 ** bits - 1;
  const middle = 2 ** (bits - 1);
  const spread = Math.sqrt((4 ** bits - 1) / 12) * Math.sqrt(inputs);
  const groups = Array.from({ length: inputs }, (_, i) => Math.floor(i / size));
  if (ordered) {
    for (let i = inputs - 1; i > 0; i--) {
      const other = rng.integer(i + 1);
      [groups[i], groups[other]] = [at(groups, other), at(groups, i)];
    }
  }
  const corners = [0, 1, top];
  return {
    outputs,
    inputs,
    bits,
    codes: matrix(outputs, inputs, () => rng.integer(top + 1)),
    zeros: matrix(outputs, groupCount, (o) => {
      if (symmetric) return middle;
      return o < corners.length ? at(corners, o) : Math.min(top, middle - 1 + rng.integer(3));
    }),
    scales: matrix(outputs, groupCount, () => f16ToF32(f32ToF16((0.75 + rng.uniform() / 2) / spread))),
    groups,
    groupCount,
  };
}

/** The weights [outputs][inputs] that the matrix stands for. */
export function weightsOf({ codes, zeros, scales, groups }: Quantized): number[][] {
  return codes.map((row, o) =>
    row.map((code, i) => {
      const g = at(groups, i);
      return at(at(scales, o), g) * (code - at(at(zeros, o), g));
    }),
  );
}

/** 32-bit words with single bits set. */
class Bits {
  readonly words: Uint32Array;

  constructor(count: number) {
    this.words = new Uint32Array(count);
  }

  /** Sets `bits` bits of word `word` and, for what does not fit, of the word `next` after it, to a value. */
  put(word: number, next: number, first: number, bits: number, value: number): void {
    for (let b = 0; b < bits; b++) {
      const bit = (value >> b) & 1;
      const position = first + b;
      if (position < 32) this.words[word] = (this.words[word]! | (bit << position)) >>> 0;
      else this.words[next] = (this.words[next]! | (bit << (position - 32))) >>> 0;
    }
  }

  tensor(shape: readonly number[]): TensorData {
    return { dtype: "I32", shape, data: new Uint8Array(this.words.buffer) };
  }
}

export type ScaleType = "F16" | "BF16" | "F32";

export function scaleTensor(
  shape: readonly number[],
  values: readonly number[],
  dtype: ScaleType,
): TensorData {
  const array =
    dtype === "F32"
      ? Float32Array.from(values)
      : Uint16Array.from(values, dtype === "F16" ? f32ToF16 : f32ToBf16);
  return { dtype, shape, data: new Uint8Array(array.buffer) };
}

const byGroup = ({ groupCount, outputs }: Quantized, rows: readonly (readonly number[])[]) =>
  matrix(groupCount, outputs, (g, o) => at(at(rows, o), g)).flat();

export interface GptqOptions {
  readonly format: "gptq" | "gptq_v2";
  readonly scales?: ScaleType;
  /** Default: with. */
  readonly gIdx?: boolean;
}

/**
 * GPTQ: codes of an output are a stream of bits down the rows of `qweight`, zero points one along each row of `qzeros`;
 * in the first format a zero point z is stored as z − 1 modulo 2^bits.
 */
export function packGptq(
  name: string,
  quantized: Quantized,
  { format, scales = "F16", gIdx = true }: GptqOptions,
): Record<string, TensorData> {
  const { outputs, inputs, bits, codes, zeros, groupCount, groups } = quantized;
  const words = new Bits(((inputs * bits) / 32) * outputs);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      const word = Math.floor((i * bits) / 32) * outputs + o;
      words.put(word, word + outputs, (i * bits) % 32, bits, at(at(codes, o), i));
    }
  }
  const width = Math.ceil((outputs * bits) / 32);
  const zeroWords = new Bits(groupCount * width);
  for (let g = 0; g < groupCount; g++) {
    for (let o = 0; o < outputs; o++) {
      const zero = at(at(zeros, o), g);
      const stored = format === "gptq" ? (zero + 2 ** bits - 1) % 2 ** bits : zero;
      const word = g * width + Math.floor((o * bits) / 32);
      zeroWords.put(word, word + 1, (o * bits) % 32, bits, stored);
    }
  }
  return {
    [`${name}.qweight`]: words.tensor([(inputs * bits) / 32, outputs]),
    [`${name}.qzeros`]: zeroWords.tensor([groupCount, width]),
    [`${name}.scales`]: scaleTensor([groupCount, outputs], byGroup(quantized, quantized.scales), scales),
    ...(gIdx
      ? {
          [`${name}.g_idx`]: {
            dtype: "I32",
            shape: [inputs],
            data: new Uint8Array(Int32Array.from(groups).buffer),
          },
        }
      : {}),
  };
}

/** AWQ, gemm: nibble n of a word has output 8·w + (0, 2, 4, 6, 1, 3, 5, 7)[n]. */
export function packAwq(name: string, quantized: Quantized): Record<string, TensorData> {
  const { outputs, inputs, codes, zeros, groupCount } = quantized;
  const order = [0, 2, 4, 6, 1, 3, 5, 7];
  const width = outputs / 8;
  const pack = (rows: number, value: (row: number, output: number) => number) => {
    const words = new Bits(rows * width);
    for (let row = 0; row < rows; row++) {
      for (let w = 0; w < width; w++) {
        order.forEach((output, n) => {
          words.put(row * width + w, 0, 4 * n, 4, value(row, 8 * w + output));
        });
      }
    }
    return words.tensor([rows, width]);
  };
  return {
    [`${name}.qweight`]: pack(inputs, (i, o) => at(at(codes, o), i)),
    [`${name}.qzeros`]: pack(groupCount, (g, o) => at(at(zeros, o), g)),
    [`${name}.scales`]: scaleTensor([groupCount, outputs], byGroup(quantized, quantized.scales), "F16"),
  };
}

/**
 * AWQ, gemv: eight codes to a word along the inputs; zero points and scales of an output in a row, which has places for a
 * multiple of eight groups, or of more where groups are small.
 */
export function packAwqGemv(name: string, quantized: Quantized): Record<string, TensorData> {
  const { outputs, inputs, codes, zeros, scales, groupCount } = quantized;
  const words = new Bits((outputs * inputs) / 8);
  const size = inputs / groupCount;
  const multiple = Math.ceil(128 / size);
  const width = Math.ceil(Math.ceil(groupCount / 8) / multiple) * multiple;
  const zeroWords = new Bits(outputs * width);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      words.put((o * inputs + i) >> 3, 0, 4 * (i % 8), 4, at(at(codes, o), i));
    }
    for (let g = 0; g < groupCount; g++) {
      zeroWords.put(o * width + (g >> 3), 0, 4 * (g % 8), 4, at(at(zeros, o), g));
    }
  }
  const padded = scales.flatMap((row) => Array.from({ length: 8 * width }, (_, g) => row[g] ?? 0));
  return {
    [`${name}.qweight`]: words.tensor([outputs, inputs / 8]),
    [`${name}.qzeros`]: zeroWords.tensor([outputs, width]),
    [`${name}.scales`]: scaleTensor([outputs, 8 * width], padded, "F16"),
  };
}

export interface CompressedOptions {
  readonly symmetric: boolean;
  readonly scales?: ScaleType;
  readonly gIdx?: boolean;
  /** Zero points are bytes, not packed. */
  readonly plainZeros?: boolean;
}

/** compressed-tensors, pack-quantized: ⌊32 / bits⌋ codes to a word along the inputs; zero points along the outputs. */
export function packCompressed(
  name: string,
  quantized: Quantized,
  { symmetric, scales = "BF16", gIdx = false, plainZeros = false }: CompressedOptions,
): Record<string, TensorData> {
  const { outputs, inputs, bits, codes, zeros, groupCount, groups } = quantized;
  const perWord = Math.floor(32 / bits);
  const width = Math.ceil(inputs / perWord);
  const words = new Bits(outputs * width);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      words.put(o * width + Math.floor(i / perWord), 0, (i % perWord) * bits, bits, at(at(codes, o), i));
    }
  }
  const zeroRows = Math.ceil(outputs / perWord);
  const zeroWords = new Bits(zeroRows * groupCount);
  for (let o = 0; o < outputs; o++) {
    for (let g = 0; g < groupCount; g++) {
      const word = Math.floor(o / perWord) * groupCount + g;
      zeroWords.put(word, 0, (o % perWord) * bits, bits, at(at(zeros, o), g));
    }
  }
  const signed = Int8Array.from(zeros.flat(), (zero) => zero - 2 ** (bits - 1));
  const shape = new Uint8Array(BigInt64Array.of(BigInt(outputs), BigInt(inputs)).buffer);
  const packedZeros = plainZeros
    ? { dtype: "I8", shape: [outputs, groupCount], data: new Uint8Array(signed.buffer) }
    : zeroWords.tensor([zeroRows, groupCount]);
  return {
    [`${name}.weight_packed`]: words.tensor([outputs, width]),
    [`${name}.weight_scale`]: scaleTensor([outputs, groupCount], quantized.scales.flat(), scales),
    [`${name}.weight_shape`]: { dtype: "I64", shape: [2], data: shape },
    ...(symmetric ? {} : { [`${name}.weight_zero_point`]: packedZeros }),
    ...(gIdx
      ? {
          [`${name}.weight_g_idx`]: {
            dtype: "I32",
            shape: [inputs],
            data: new Uint8Array(Int32Array.from(groups).buffer),
          },
        }
      : {}),
  };
}

/** The weights that GPTQ's words stand for where codes have 3 bits, as its authors wrote the packing: 10 + 1 + 10 + 1 + 10. */
export function threeBitCodes(words: readonly [number, number, number]): number[] {
  const [a, b, c] = words;
  const codes: number[] = [];
  for (let i = 0; i < 10; i++) codes.push((a >>> (3 * i)) & 7);
  codes.push(((a >>> 30) & 3) | ((b & 1) << 2));
  for (let i = 0; i < 10; i++) codes.push((b >>> (3 * i + 1)) & 7);
  codes.push(((b >>> 31) & 1) | ((c & 3) << 1));
  for (let i = 0; i < 10; i++) codes.push((c >>> (3 * i + 2)) & 7);
  return codes;
}
