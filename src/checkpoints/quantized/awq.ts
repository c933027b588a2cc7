import type { JsonView } from "../../text/json-view.ts";
import {
  evenGroups,
  expectShape,
  extents,
  parameter,
  readScales,
  readWords,
  SCALE_DTYPES,
} from "./code-matrix.ts";
import type { Method } from "./method.ts";

const BITS = 4;
const PER_WORD = 32 / BITS;
/** The place in a word, from its least significant bits, of each of eight outputs in a row. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7] as const;

/**
 * AWQ in the order of its `gemm` kernels: `qweight` [in, out/8], eight outputs to a word, even ones in its low half;
 * `qzeros` [groups, out/8] likewise; `scales` [groups, out].
 */
export function awq(config: JsonView): Method {
  const declared = config.integer("group_size", -1, 2 ** 24) ?? config.integer("q_group_size", -1, 2 ** 24);
  return {
    marker: "qweight",
    parameters: ["qweight", "qzeros", "scales"],
    async matrix(parameters, warn) {
      const weights = parameter(parameters, "qweight", ["I32", "U32"]);
      const zeros = parameter(parameters, "qzeros", ["I32", "U32"]);
      const scales = parameter(parameters, "scales", SCALE_DTYPES);
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
        async load() {
          const words = await readWords(weights);
          const zeroWords = await readWords(zeros);
          const points = new Uint8Array(groupCount * rows);
          unpackOutputs(zeroWords, width, 0, rows, points, rows, 1);
          return {
            codes: (first, count, into, stride) =>
              unpackOutputs(words, width, first, count, new Uint8Array(into.buffer), 1, 4 * stride),
            scales: await readScales(scales, warn),
            zeros: points,
          };
        },
      };
    },
  };
}

/**
 * The codes of `count` outputs from output `first` on, from words [n, width]: that of output first + o in row i goes to
 * `into` at i · `rowStep` + o · `outputStep`.
 */
function unpackOutputs(
  words: Uint32Array,
  width: number,
  first: number,
  count: number,
  into: Uint8Array,
  rowStep: number,
  outputStep: number,
): void {
  for (let start = 0, to = 0; start < words.length; start += width, to += rowStep) {
    for (let o = 0; o < count; o++) {
      const output = first + o;
      const word = words[start + Math.floor(output / PER_WORD)]!;
      into[to + o * outputStep] = (word >>> (BITS * PLACES[output % PER_WORD]!)) & 15;
    }
  }
}
