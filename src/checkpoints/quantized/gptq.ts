import type { SafeTensor } from "../../files/safetensors.ts";
import { FAMILY_BITS } from "../../quant/formats.ts";
import type { JsonView } from "../../text/json-view.ts";
import { unpackStream } from "./bit-fields.ts";
import {
  evenGroups,
  expectShape,
  extents,
  FLOAT_DTYPES,
  type Parameters,
  parameter,
  readScales,
  readWords,
  tensorError,
  type Warn,
} from "./code-matrix.ts";
import type { Method } from "./method.ts";

/** What `gptq` checkpoints add to a stored zero point, and `gptq_v2` does not. */
const OFFSETS: Readonly<Record<string, number>> = { gptq: 1, gptq_v2: 0 };

/**
 * GPTQ: `qweight` [in · bits/32, out], codes of an output one after the other along the inputs; `qzeros` [groups,
 * out · bits/32], likewise along the outputs; `scales` [groups, out]; `g_idx` [in], the group of every input. Bits and
 * groups are those that the shapes have, so that every module may have its own (GPTQModel's `dynamic`).
 */
export function gptq(config: JsonView, format: string): Method {
  const offset = OFFSETS[format] as number;
  const declared = {
    bits: config.integer("bits", 1, 32),
    group: config.integer("group_size", -1, 2 ** 24),
    symmetric: config.bool("sym") ?? true,
  };
  return {
    marker: "qweight",
    parameters: ["qweight", "qzeros", "scales", "g_idx"],
    async matrix(parameters, warn) {
      const shape = shapeOf(parameters, declared.bits);
      const { rows, cols, bits, zeros, scales } = shape;
      const stored = await constantOf(zeros, rows, bits);
      const added = addedTo(stored, bits, declared.symmetric, offset, warn);
      const symmetric = stored !== undefined && stored + added === 2 ** (bits - 1);
      return {
        tensor: shape.weights,
        rows,
        cols,
        bits,
        symmetric,
        groups: await groupsOf(parameters, shape, declared.group),
        load: async (memory) => {
          const words = await readWords(shape.weights, memory);
          return {
            words(first, count, into) {
              for (let from = first, to = 0; from < words.length; from += rows, to += count) {
                into.set(words.subarray(from, from + count), to);
              }
            },
            scales: await readScales(scales, warn),
            zeros: symmetric ? undefined : zeroPoints(await readWords(zeros), zeros, rows, bits, added),
          };
        },
      };
    },
  };
}

interface Shape {
  readonly weights: SafeTensor;
  readonly zeros: SafeTensor;
  readonly scales: SafeTensor;
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  readonly groupCount: number;
}

function shapeOf(parameters: Parameters, declaredBits: number | undefined): Shape {
  const weights = parameter(parameters, "qweight", ["I32", "U32"]);
  const zeros = parameter(parameters, "qzeros", ["I32", "U32"]);
  const scales = parameter(parameters, "scales", FLOAT_DTYPES);
  const [words, rows] = extents(weights);
  const [groupCount, width] = extents(zeros);
  expectShape(scales, [groupCount, rows]);
  const possible = FAMILY_BITS.filter(
    (bits) => Math.ceil((rows * bits) / 32) === width && Number.isInteger((words * 32) / bits),
  );
  const bits = possible.find((bits) => bits === declaredBits) ?? possible[0];
  if (bits === undefined) {
    const problem = `has shape [${zeros.shape}], for ${rows} outputs; codes have ${FAMILY_BITS.join(", ")} bits`;
    throw tensorError(zeros, problem);
  }
  return { weights, zeros, scales, rows, cols: (words * 32) / bits, bits, groupCount };
}

async function groupsOf(
  parameters: Parameters,
  { weights, cols, groupCount }: Shape,
  declared: number | undefined,
): Promise<Uint32Array> {
  if (!parameters.has("g_idx")) {
    return evenGroups(weights, cols, groupCount, declared === -1 ? cols : declared);
  }
  const tensor = parameter(parameters, "g_idx", ["I32", "U32"]);
  expectShape(tensor, [cols]);
  const groups = await readWords(tensor);
  const wrong = groups.findIndex((group) => group >= groupCount);
  if (wrong < 0) return groups;
  throw tensorError(
    tensor,
    `input ${wrong} is in group ${groups[wrong]! | 0}, but there are ${groupCount} groups`,
  );
}

/** The stored zero point, if all are the same. */
async function constantOf(zeros: SafeTensor, rows: number, bits: number): Promise<number | undefined> {
  const [, width] = extents(zeros);
  const words = await readWords(zeros);
  const first = unpackRow(words, 0, bits, rows);
  if (first.some((zero) => zero !== first[0])) return undefined;
  for (let i = width; i < words.length; i++) if (words[i] !== words[i - width]) return undefined;
  return first[0];
}

/**
 * What is added to stored zero points. Those of a symmetric matrix tell: they are 2^(bits − 1) or one less, and what the
 * file calls its format is often wrong.
 */
function addedTo(
  stored: number | undefined,
  bits: number,
  symmetric: boolean,
  offset: number,
  warn: Warn,
): number {
  const found = stored === undefined || !symmetric ? offset : 2 ** (bits - 1) - stored;
  if (found === offset || (found !== 0 && found !== 1)) return offset;
  const names = found === 0 ? ["gptq_v2", "gptq"] : ["gptq", "gptq_v2"];
  warn(`zero points are those of ${names[0]}, though the checkpoint says ${names[1]}: read as ${names[0]}`);
  return found;
}

/** `count` codes from word `start` on. */
function unpackRow(words: Uint32Array, start: number, bits: number, count: number): Uint8Array {
  const codes = new Uint8Array(count);
  unpackStream(words, start, bits, codes, count);
  return codes;
}

/** [groups][rows]. A zero point of 0, one less, is stored as the largest code. */
function zeroPoints(
  words: Uint32Array,
  zeros: SafeTensor,
  rows: number,
  bits: number,
  added: number,
): Uint8Array {
  const [groupCount, width] = extents(zeros);
  const points = new Uint8Array(groupCount * rows);
  for (let group = 0; group < groupCount; group++) {
    points.set(unpackRow(words, group * width, bits, rows), group * rows);
  }
  const mask = 2 ** bits - 1;
  if (added !== 0) for (let i = 0; i < points.length; i++) points[i] = (points[i]! + added) & mask;
  return points;
}
