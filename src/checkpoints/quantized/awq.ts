import type { SafeTensor } from "../../files/safetensors.ts";
import type { JsonView } from "../../text/json-view.ts";
import { placeStream, unpackStream } from "./bit-fields.ts";
import {
  type CodeMatrix,
  evenGroups,
  expectShape,
  extents,
  FLOAT_DTYPES,
  groupMajor,
  parameter,
  readScales,
  readWords,
  tensorError,
  type Warn,
} from "./code-matrix.ts";
import type { Method } from "./method.ts";

const BITS = 4;
const PER_WORD = 32 / BITS;
/** The place in a word, from its least significant bits, of each of eight outputs in a row. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7] as const;

/** AWQ; its two formats are named after kernels. */
export function awq(config: JsonView, format: string): Method {
  const declared = config.integer("group_size", -1, 2 ** 24) ?? config.integer("q_group_size", -1, 2 ** 24);
  const read = format === "gemv" ? rowsOfInputs : rowsOfOutputs;
  return {
    marker: "qweight",
    parameters: ["qweight", "qzeros", "scales"],
    async matrix(parameters, warn) {
      const weights = parameter(parameters, "qweight", ["I32", "U32"]);
      const zeros = parameter(parameters, "qzeros", ["I32", "U32"]);
      const scales = parameter(parameters, "scales", FLOAT_DTYPES);
      return read({ weights, zeros, scales }, declared, warn);
    },
  };
}

interface Tensors {
  readonly weights: SafeTensor;
  readonly zeros: SafeTensor;
  readonly scales: SafeTensor;
}

/**
 * `gemm`: `qweight` [in, out/8], eight outputs to a word, even ones in its low half; `qzeros` [groups, out/8] likewise;
 * `scales` [groups, out].
 */
function rowsOfOutputs(
  { weights, zeros, scales }: Tensors,
  declared: number | undefined,
  warn: Warn,
): CodeMatrix {
  const [cols, width] = extents(weights);
  const [groupCount] = extents(scales);
  const rows = width * PER_WORD;
  expectShape(zeros, [groupCount, width]);
  expectShape(scales, [groupCount, rows]);
  return {
    tensor: weights,
    rows,
    cols,
    bits: BITS,
    symmetric: false,
    groups: evenGroups(weights, cols, groupCount, declared === -1 ? cols : declared),
    load: async (memory) => {
      const words = await readWords(weights, memory);
      return {
        words: (first, count, into) => transposeCodes(words, width, first, count, into),
        scales: await readScales(scales, warn),
        zeros: (await readWords(zeros)).reduce(
          (points, word, i) => {
            for (let o = 0; o < PER_WORD; o++) points[PER_WORD * i + o] = (word >>> (BITS * PLACES[o]!)) & 15;
            return points;
          },
          new Uint8Array(groupCount * rows),
        ),
      };
    },
  };
}

/**
 * The codes of `count` outputs from output `first` on, of words [in, width], as streams [word][output]: eight words of eight
 * outputs become eight words of eight inputs.
 */
function transposeCodes(
  words: Uint32Array,
  width: number,
  first: number,
  count: number,
  into: Uint32Array,
): void {
  const square = new Uint32Array(PER_WORD);
  const last = first + count;
  const [from, to] = [Math.floor(first / PER_WORD), Math.ceil(last / PER_WORD)];
  const cols = words.length / width;
  for (let input = 0, at = 0; input < cols; input += PER_WORD, at++) {
    for (let column = from; column < to; column++) {
      for (let i = 0; i < PER_WORD; i++) {
        square[i] = input + i < cols ? words[(input + i) * width + column]! : 0;
      }
      transpose(square);
      for (let o = 0; o < PER_WORD; o++) {
        const output = PER_WORD * column + o;
        if (output >= first && output < last) into[at * count + output - first] = square[PLACES[o]!]!;
      }
    }
  }
}

/** Exchanges place and word of the codes of eight words: blocks of four, of two, single ones. */
function transpose(square: Uint32Array): void {
  for (let i = 0; i < 4; i++) exchange(square, i, i + 4, 16, 0x0000ffff);
  for (let i = 0; i < 4; i++) exchange(square, i + (i & 2), i + (i & 2) + 2, 8, 0x00ff00ff);
  for (let i = 0; i < 8; i += 2) exchange(square, i, i + 1, 4, 0x0f0f0f0f);
}

/** The bits of word `a` above those of a mask, by `shift`, for those of word `b` under it. */
function exchange(words: Uint32Array, a: number, b: number, shift: number, mask: number): void {
  const swapped = ((words[a]! >>> shift) ^ words[b]!) & mask;
  words[a]! ^= swapped << shift;
  words[b]! ^= swapped;
}

/**
 * `gemv`: `qweight` [out, in/8], codes in the order of the inputs; `qzeros` [out, n] likewise, along the groups; `scales`
 * [out, 8n], 8n the number of groups or more.
 */
function rowsOfInputs(
  { weights, zeros, scales }: Tensors,
  declared: number | undefined,
  warn: Warn,
): CodeMatrix {
  const [rows, width] = extents(weights);
  const cols = width * PER_WORD;
  const size = declared === undefined || declared < 1 ? cols : declared;
  const groupCount = Math.ceil(cols / size);
  const [, zeroWidth] = extents(zeros);
  const places = PER_WORD * zeroWidth;
  if (places < groupCount) {
    throw tensorError(zeros, `has ${places} groups of ${size} inputs, for ${cols} inputs`);
  }
  expectShape(zeros, [rows, zeroWidth]);
  expectShape(scales, [rows, places]);
  return {
    tensor: weights,
    rows,
    cols,
    bits: BITS,
    symmetric: false,
    groups: evenGroups(weights, cols, groupCount, size),
    load: async (memory) => {
      const words = await readWords(weights, memory);
      const points = new Uint8Array(rows * places);
      unpackStream(await readWords(zeros), 0, BITS, points, points.length);
      return {
        words(first, count, into) {
          for (let r = 0; r < count; r++) placeStream(words, (first + r) * width, width, into, r, count);
        },
        scales: groupMajor(await readScales(scales, warn), rows, places),
        zeros: groupMajor(points, rows, places),
      };
    },
  };
}
