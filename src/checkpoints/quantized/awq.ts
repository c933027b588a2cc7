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
          for (let row = 0; row < rows; row++) unpackOutput(zeroWords, width, row, points, row, rows);
          return {
            codes: (row, into) => unpackOutput(words, width, row, into, 0, 1),
            scales: await readScales(scales, warn),
            zeros: points,
          };
        },
      };
    },
  };
}

/** The codes of one output from words [n, width], to `into` from `at` on, `step` apart. */
function unpackOutput(
  words: Uint32Array,
  width: number,
  output: number,
  into: Uint8Array,
  at: number,
  step: number,
): void {
  const shift = BITS * PLACES[output % PER_WORD]!;
  for (let i = Math.floor(output / PER_WORD), to = at; i < words.length; i += width, to += step) {
    into[to] = (words[i]! >>> shift) & 15;
  }
}
