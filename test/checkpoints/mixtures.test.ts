import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readCheckpoint } from "../../src/checkpoints/checkpoint.ts";
import { modelSpec } from "../../src/models/index.ts";
import { temporaryFolder } from "../cli/harness.ts";
import type { TensorData } from "../files/safetensors-fixtures.ts";
import { CASES, type FamilyCase, filesOf, folderFor, tensorsOf } from "./family-cases.ts";
import { packGptq, randomQuantized, scaleTensor } from "./packers.ts";
import { divergence, memoryFolder, saveCheckpoint } from "./random-checkpoint.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", backend: "wasm" };
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);
/** Nats; the same weights, computed in another way. */
const CLOSE = 1e-6;

const SMALL = { layers: 2, hiddenSize: 64, intermediateSize: 64, heads: 2, kvHeads: 2, vocabularySize: 300 };

/** A small model of a family. */
const smallOf = (type: string, keys: FamilyCase["keys"] = {}) => {
  const choice = CASES.find((one) => one.type === type) as FamilyCase;
  return folderFor({ ...choice, keys: { ...choice.keys, ...keys } }, SMALL);
};

type Tensors = Record<string, TensorData>;

async function logitsOf(config: object, tensors: Tensors): Promise<Float32Array[]> {
  const path = await saveCheckpoint(join(folder, `${Math.random()}`), { files: filesOf(config, tensors) });
  await using model = await loadModel(path, EXACT);
  return await model.evaluate(TOKENS);
}

/** The values of E2M1, as OCP's "Microscaling Formats" 1.0 lists them. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((value, i, all) => (i < 8 ? [value] : all));
const e2m1 = (code: number) => (code < 8 ? 1 : -1) * (E2M1[code % 8] as number);

/** Random blocks of matrices [count][rows][cols], and the floats [count][cols][rows] that they stand for. */
function randomMxfp4(name: string, [count, rows, cols]: readonly [number, number, number], rng: Rng) {
  const codes = Uint8Array.from({ length: (count * rows * cols) / 2 }, () => rng.integer(256));
  const scales = Uint8Array.from({ length: codes.length / 16 }, () => 121 + rng.integer(3));
  const weight = (i: number) => {
    const byte = codes[i >> 1] as number;
    return e2m1(i % 2 === 0 ? byte & 15 : byte >> 4) * 2 ** ((scales[i >> 5] as number) - 127);
  };
  const floats = Array.from({ length: count * rows * cols }, (_, i) => {
    const [expert, rest] = [Math.floor(i / (rows * cols)), i % (rows * cols)];
    const [col, row] = [Math.floor(rest / rows), rest % rows];
    return weight((expert * rows + row) * cols + col);
  });
  const blocked: Tensors = {
    [`${name}_blocks`]: { dtype: "U8", shape: [count, rows, cols / 32, 16], data: codes },
    [`${name}_scales`]: { dtype: "U8", shape: [count, rows, cols / 32], data: scales },
  };
  return { blocked, floats: { [name]: scaleTensor([count, cols, rows], floats, "BF16") } };
}

/** gpt-oss with random MXFP4 experts, and as floats. */
function gptOss() {
  const { config, tensors } = smallOf("gpt_oss", { expert_feed_forward_length: { type: "u32", value: 96 } });
  const rng = new Rng(3);
  const [blocked, floats]: [Tensors, Tensors] = [{}, {}];
  for (const [name, tensor] of Object.entries(tensorsOf(tensors))) {
    const [count = 1, cols = 1, rows = 1] = tensor.shape;
    if (tensor.shape.length < 3) blocked[name] = floats[name] = tensor;
    else {
      const made = randomMxfp4(name, [count, rows, cols], rng);
      Object.assign(blocked, made.blocked);
      Object.assign(floats, made.floats);
    }
  }
  const quantized = { ...config, quantization_config: { quant_method: "mxfp4" } };
  return { config, floats, quantized, blocked };
}

test("gpt-oss in MXFP4 has the logits of its weights as floats", async () => {
  const { config, floats, quantized, blocked } = gptOss();
  const truth = await logitsOf(config, floats);
  expect(divergence(truth, await logitsOf(quantized, blocked))).toBeLessThan(CLOSE);
});

describe("experts that do not fit together", () => {
  async function reading(config: object, tensors: Tensors): Promise<void> {
    modelSpec(await readCheckpoint(memoryFolder({ files: filesOf(config, tensors) }), () => {}));
  }

  const mixtral = () => {
    const { config, tensors } = smallOf("mixtral");
    return { config, tensors: tensorsOf(tensors) };
  };
  const expert = (n: number | string) => `model.layers.1.block_sparse_moe.experts.${n}.w1.weight`;
  const floats = (...shape: number[]) =>
    scaleTensor(
      shape,
      Array.from({ length: shape.reduce((a, b) => a * b) }, () => 1),
      "F32",
    );

  test.each<[string, (tensors: Tensors) => void]>([
    ["one is missing", (tensors) => delete tensors[expert(3)]],
    ["the last one is missing", (tensors) => delete tensors[expert(7)]],
    ["there is one too many", (tensors) => (tensors[expert(8)] = tensors[expert(7)] as TensorData)],
    ["one has a number of hundred thousands", (tensors) => (tensors[expert(999_999)] = floats(64, 64))],
    ["one has another shape", (tensors) => (tensors[expert(3)] = floats(32, 128))],
    [
      "one has another type",
      (tensors) => {
        tensors[expert(3)] = { dtype: "F16", shape: [64, 64], data: new Uint8Array(2 * 64 * 64) };
      },
    ],
    [
      "a router of too few",
      (tensors) => (tensors["model.layers.1.block_sparse_moe.gate.weight"] = floats(7, 64)),
    ],
  ])("%s", async (_, change) => {
    const { config, tensors } = mixtral();
    await reading(config, tensors);
    change(tensors);
    await expect(reading(config, tensors)).rejects.toThrow(FileFormatError);
  });

  test("a number with zeros in front is no expert", async () => {
    const { config, tensors } = mixtral();
    tensors[expert("03")] = floats(64, 64);
    await expect(reading(config, tensors)).rejects.toThrow("no place in the architecture");
  });

  test.each<[object]>([
    [{ num_local_experts: 1e9 }],
    [{ num_local_experts: -8 }],
    [{ num_local_experts: 7 }],
    [{ num_experts_per_tok: 9 }],
    [{ num_experts_per_tok: 1e9 }],
    [{ num_experts_per_tok: -1 }],
    [{ intermediate_size: 1e9 }],
  ])("%o", async (more) => {
    const { config, tensors } = mixtral();
    await expect(reading({ ...config, ...more }, tensors)).rejects.toThrow(FileFormatError);
  });

  test.each<[string, object]>([
    ["qwen3_moe", { decoder_sparse_step: 2 }],
    ["qwen2_moe", { mlp_only_layers: [1] }],
    ["gpt_oss", { swiglu_limit: 6 }],
    ["gpt_oss", { hidden_act: "gelu" }],
  ])("%s with %o is not supported", async (type, more) => {
    const { config, tensors } = smallOf(type);
    await expect(reading({ ...config, ...more }, tensorsOf(tensors))).rejects.toThrow(UnsupportedError);
  });

  const layer = "model.layers.0.mlp.experts";
  test.each<[string, (tensors: Tensors) => void, string]>([
    ["without scales", (tensors) => delete tensors[`${layer}.down_proj_scales`], "comes without"],
    ["without blocks", (tensors) => delete tensors[`${layer}.down_proj_blocks`], "is missing"],
    [
      "with fewer scales",
      (tensors) => {
        tensors[`${layer}.down_proj_scales`] = {
          dtype: "U8",
          shape: [8, 64, 2],
          data: new Uint8Array(1024),
        };
      },
      "has shape [8,64,2], not [8,64,3]",
    ],
    [
      "with blocks in another shape",
      (tensors) => {
        const { data } = tensors[`${layer}.down_proj_blocks`] as TensorData;
        tensors[`${layer}.down_proj_blocks`] = { dtype: "U8", shape: [64, 8, 3, 16], data };
      },
      "has shape [64,8,3,16], not [8,64,3,16]",
    ],
    ["with more biases", (tensors) => (tensors[`${layer}.down_proj_bias`] = floats(8, 65)), "not [8,64]"],
    [
      "with other parameters",
      (tensors) => (tensors[`${layer}.more`] = floats(4)),
      "no place in the architecture",
    ],
    [
      "with fewer sinks",
      (tensors) => (tensors["model.layers.0.self_attn.sinks"] = floats(3)),
      "has shape 3, not 2",
    ],
  ])("gpt-oss %s", async (_, change, message) => {
    const { quantized, blocked } = gptOss();
    await reading(quantized, blocked);
    change(blocked);
    await expect(reading(quantized, blocked)).rejects.toThrow(message);
  });

  test("groups by an order of their own are not supported", async () => {
    const { config, tensors } = mixtral();
    const rng = new Rng(2);
    for (let n = 0; n < 8; n++) {
      delete tensors[expert(n)];
      const choice = { bits: 4, group: 32, symmetric: true, ordered: true };
      const module = expert(n).replace(".weight", "");
      Object.assign(tensors, packGptq(module, randomQuantized(64, 64, choice, rng), { format: "gptq" }));
    }
    const quantized = { ...config, quantization_config: { quant_method: "gptq", bits: 4, group_size: 32 } };
    await expect(reading(quantized, tensors)).rejects.toThrow(UnsupportedError);
  });
});
