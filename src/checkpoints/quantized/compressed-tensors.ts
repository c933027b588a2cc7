import { UnsupportedError } from "../../base/errors.ts";
import type { SafeTensor } from "../../files/safetensors.ts";
import { FAMILY_BITS } from "../../quant/formats.ts";
import type { JsonView } from "../../text/json-view.ts";
import { packStream, placeStream, unpackWhole, wordsOf } from "./bit-fields.ts";
import {
  evenGroups,
  expectShape,
  extents,
  FLOAT_DTYPES,
  groupMajor,
  type Parameters,
  parameter,
  readScales,
  readWords,
  tensorError,
} from "./code-matrix.ts";
import type { Method } from "./method.ts";

/**
 * compressed-tensors, `pack-quantized`: `weight_packed` [out, ⌈in / n⌉], n = ⌊32 / bits⌋ codes to a word; `weight_scale`
 * [out, groups]; `weight_zero_point` [⌈out / n⌉, groups], packed along the outputs, not there for a symmetric matrix;
 * `weight_shape` [2] = (out, in); `weight_g_idx` [in]. Signed codes and zero points are stored with 2^(bits − 1) added.
 */
export function compressedTensors(config: JsonView): Method {
  const declared = Object.keys(config.object("config_groups")?.json ?? {}).map((name) => {
    const weights = config.object("config_groups")?.object(name)?.object("weights");
    if (weights !== undefined && (weights.string("type") ?? "int") !== "int") {
      throw new UnsupportedError(`${config.file}: compressed-tensors with weights that are no integers`);
    }
    return {
      bits: weights?.integer("num_bits", 1, 32),
      group: weights?.integer("group_size", -1, 2 ** 24),
    };
  });
  return {
    marker: "weight_packed",
    parameters: ["weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"],
    async matrix(parameters, warn) {
      const weights = parameter(parameters, "weight_packed", ["I32", "U32"]);
      const scales = parameter(parameters, "weight_scale", FLOAT_DTYPES);
      const [rows, width] = extents(weights);
      const [scaleRows, groupCount] = extents(scales);
      if (scaleRows !== rows) expectShape(scales, [rows, groupCount]);
      const cols = await inputsOf(parameters, rows);
      const possible = FAMILY_BITS.filter((bits) => Math.ceil(cols / Math.floor(32 / bits)) === width);
      const bits = possible.find((bits) => declared.some((one) => one.bits === bits)) ?? possible[0];
      if (bits === undefined) {
        throw tensorError(weights, `has shape [${weights.shape}], for ${cols} inputs`);
      }
      const zeros = parameters.has("weight_zero_point")
        ? parameter(parameters, "weight_zero_point", ["I32", "U32", "I8"])
        : undefined;
      if (zeros !== undefined) checkZeros(zeros, rows, groupCount, bits);
      const group = declared.find((one) => one.bits === bits)?.group;
      return {
        tensor: weights,
        rows,
        cols,
        bits,
        symmetric: zeros === undefined,
        groups:
          (await listedGroups(parameters, cols, groupCount)) ?? evenGroups(weights, cols, groupCount, group),
        load: async (memory) => {
          const words = await readWords(weights, memory);
          return {
            words(first, count, into) {
              const codes = new Uint8Array(cols);
              const stream = new Uint32Array(wordsOf(cols, bits));
              for (let r = 0; r < count; r++) {
                const start = (first + r) * width;
                if (32 % bits === 0) placeStream(words, start, width, into, r, count);
                else {
                  unpackWhole(words, start, 1, bits, codes, cols);
                  packStream(codes, bits, stream, 0);
                  placeStream(stream, 0, stream.length, into, r, count);
                }
              }
            },
            scales: groupMajor(await readScales(scales, warn), rows, groupCount),
            zeros: zeros && (await zeroPoints(zeros, rows, groupCount, bits)),
          };
        },
      };
    },
  };
}

/** The inputs that `weight_shape` tells. */
async function inputsOf(parameters: Parameters, rows: number): Promise<number> {
  const tensor = parameter(parameters, "weight_shape", ["I64", "I32"]);
  expectShape(tensor, [2]);
  const bytes = (await tensor.source.read(tensor.offset, tensor.byteLength)).slice();
  const [out, cols] =
    tensor.dtype === "I64"
      ? Array.from(new BigInt64Array(bytes.buffer), Number)
      : new Int32Array(bytes.buffer);
  if (out === rows && cols !== undefined && cols >= 1 && cols <= 2 ** 24) return cols;
  throw tensorError(tensor, `is [${out}, ${cols}], for ${rows} outputs`);
}

/** The group of every input, where the order of the inputs was chosen by their activations. */
async function listedGroups(
  parameters: Parameters,
  cols: number,
  groupCount: number,
): Promise<Uint32Array | undefined> {
  if (!parameters.has("weight_g_idx")) return undefined;
  const tensor = parameter(parameters, "weight_g_idx", ["I32", "U32"]);
  expectShape(tensor, [cols]);
  const groups = await readWords(tensor);
  // All −1: a list that was never made.
  if (groups.every((group) => group === 2 ** 32 - 1)) return undefined;
  const wrong = groups.findIndex((group) => group >= groupCount);
  if (wrong < 0) return groups;
  throw tensorError(
    tensor,
    `input ${wrong} is in group ${groups[wrong]! | 0}, but there are ${groupCount} groups`,
  );
}

function checkZeros(zeros: SafeTensor, rows: number, groupCount: number, bits: number): void {
  const packedRows = zeros.dtype === "I8" ? rows : Math.ceil(rows / Math.floor(32 / bits));
  expectShape(zeros, [packedRows, groupCount]);
}

/** [groups][rows] */
async function zeroPoints(
  zeros: SafeTensor,
  rows: number,
  groupCount: number,
  bits: number,
): Promise<Uint8Array> {
  if (zeros.dtype === "I8") {
    const signed = await zeros.source.read(zeros.offset, zeros.byteLength);
    const mask = 2 ** bits - 1;
    return groupMajor(signed, rows, groupCount).map((zero) => (zero + 2 ** (bits - 1)) & mask);
  }
  const words = await readWords(zeros);
  const points = new Uint8Array(groupCount * rows);
  for (let group = 0; group < groupCount; group++) {
    const into = points.subarray(group * rows, (group + 1) * rows);
    unpackWhole(words, group, groupCount, bits, into, rows);
  }
  return points;
}
