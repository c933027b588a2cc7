// @ts-check
/** Random models whose kernels are wanted. */
import { modelSpec } from "../../dist/models/index.js";
import { randomFile } from "../../dist/models/random-file.js";
import { LLAMA_SHAPES, randomLlama } from "../../dist/models/random-llama.js";
import { randomModel } from "../../dist/models/random-model.js";

/** @import { ModelFile, StoredTensor } from "../../dist/files/model-file.js" */

const SHAPE = { ...LLAMA_SHAPES["tinyllama-1.1b"], weights: /** @type {const} */ ("codes") };
const u32 = (/** @type {number} */ value) => ({ type: /** @type {const} */ ("u32"), value });

/** Qwen3-MoE's kinds of matrices, with fewer layers and experts, on which no kernel depends. */
const EXPERTS = {
  ...SHAPE,
  architecture: "qwen3moe",
  layers: 4,
  headDim: 128,
  keys: { expert_count: u32(16), expert_used_count: u32(8), expert_feed_forward_length: u32(768) },
};

/**
 * A type for the most part, and another one where llama.cpp's mixtures have a better one.
 *
 * @param {string} types `Q4_0`, `Q4_K+Q6_K`
 */
function mixture(types) {
  const [most = "", better = most] = types.split("+");
  const isBetter = (/** @type {string} */ matrix, /** @type {number} */ layer) =>
    matrix === "output" || (["v", "down"].includes(matrix) && layer % 2 === 0);
  return {
    format: (/** @type {string} */ matrix, /** @type {number} */ layer) =>
      isBetter(matrix, layer) ? better : most,
    outputFormat: better,
  };
}

/**
 * Every quantized matrix of the layers with its columns in another order.
 *
 * @param {ModelFile} file
 * @returns {ModelFile}
 */
function reordered(file) {
  const other = (/** @type {StoredTensor} */ tensor) => {
    const { name, type, shape, byteLength } = tensor;
    if (!name.startsWith("blk.") || type === "F32") return tensor;
    const order = Uint32Array.from({ length: shape[0] ?? 1 }, (_, i) => i ^ 1);
    return {
      file: tensor.file,
      name,
      type,
      shape,
      byteLength,
      order,
      readRows: tensor.readRows.bind(tensor),
    };
  };
  return {
    metadata: file.metadata,
    tensors: new Map([...file.tensors].map(([name, tensor]) => [name, other(tensor)])),
  };
}

/**
 * @param {string} name `Q4_0`, `Q4_K+Q6_K`, `act-order`, `qwen3moe`
 */
export function namedModel(name) {
  const contents =
    name === "act-order"
      ? randomLlama({ ...SHAPE, format: "4bit-g128", outputFormat: "F16" })
      : name === "qwen3moe"
        ? randomModel({ ...EXPERTS, ...mixture("Q4_K+Q6_K") })
        : randomLlama({ ...SHAPE, ...mixture(name) });
  const { file } = randomFile(name, contents);
  return { spec: modelSpec(file), file: name === "act-order" ? reordered(file) : file };
}
