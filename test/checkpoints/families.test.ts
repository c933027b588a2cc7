import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { Rng } from "../../src/base/rng.ts";
import { MODEL_TYPES } from "../../src/checkpoints/families/index.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import type { TensorData } from "../files/safetensors-fixtures.ts";
import { CASES, filesOf, folderFor, modelOf, tensorOf, tensorsOf } from "./family-cases.ts";
import type { Folder } from "./family-folders.ts";
import {
  packAwq,
  packCompressed,
  packGptq,
  type Quantized,
  randomQuantized,
  scaleTensor,
  weightsOf,
} from "./packers.ts";
import { divergence, saveCheckpoint } from "./random-checkpoint.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", backend: "wasm" };
/** Nats; what is computed is the same but for the order of sums, and weights that went from 1 + w to w and back. */
const SAME = 1e-10;
/** Nats; weights of codes are computed in another way. */
const CLOSE = 1e-6;
/** Longer than the windows of the cases. */
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);

async function logitsOf(path: string): Promise<Float32Array[]> {
  await using model = await loadModel(path, EXACT);
  return await model.evaluate(TOKENS);
}

const save = (config: object, tensors: Record<string, TensorData>) =>
  saveCheckpoint(join(folder, `${Math.random()}`), { files: filesOf(config, tensors) });

const saveFolder = ({ config, tensors }: Folder) => save(config, tensorsOf(tensors));

const named = CASES.map((choice) => {
  const more = [...(choice.erf ? ["erf"] : []), ...Object.keys(choice.config ?? {})];
  return [`${choice.type}: ${[choice.of, ...more].join(", ")}`, choice] as const;
});

test("all families have a case", () => {
  const tested = new Set(CASES.map(({ type }) => type));
  expect([...MODEL_TYPES].sort()).toEqual([...tested].sort());
});

test.each(named)("%s from a folder has the logits of its GGUF file", async (_, choice) => {
  const gguf = await saveGguf(join(folder, `${Math.random()}.gguf`), modelOf(choice));
  const truth = await logitsOf(gguf);
  const last = truth.at(-1) as Float32Array;
  const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
  expect(Math.sqrt(last.reduce((sum, x) => sum + (x - mean) ** 2, 0) / last.length)).toBeGreaterThan(1.5);
  expect(divergence(truth, await logitsOf(await saveFolder(folderFor(choice))))).toBeLessThan(SAME);
  const { config, erf, ...plain } = choice;
  if (config === undefined && erf === undefined) return;
  expect(divergence(truth, await logitsOf(await saveFolder(folderFor(plain))))).toBeGreaterThan(10 * SAME);
});

/** Families whose matrices are not simply those of GGUF. */
const FUSED = ["gpt2", "gptneox", "falcon with two norms", "phi3", "gemma2", "phi2"];
const MIXTURES = ["mixtral", "qwen2moe", "qwen3moe"];

type PackCodes = (module: string, quantized: Quantized) => Record<string, TensorData>;

const METHODS: Readonly<Record<string, readonly [PackCodes, object]>> = {
  GPTQ: [
    (module, quantized) => packGptq(module, quantized, { format: "gptq" }),
    { quant_method: "gptq", sym: false },
  ],
  AWQ: [packAwq, { quant_method: "awq", version: "gemm" }],
  "compressed-tensors": [
    (module, quantized) => packCompressed(module, quantized, { symmetric: false, scales: "F16" }),
    { quant_method: "compressed-tensors", format: "pack-quantized" },
  ],
};

/** The matrices of layers as random codes, and as the floats that these stand for. */
function codedAndPlain({ tensors }: Folder, isTransposed: boolean, pack: PackCodes) {
  const rng = new Rng(9);
  const coded: Record<string, TensorData> = {};
  const plain: Record<string, TensorData> = {};
  for (const [name, values] of tensors) {
    // Routers stay floats.
    const isLinear = values.shape.length === 2 && /\.\d+\./.test(name) && !/gate\.weight$/.test(name);
    if (!isLinear) {
      plain[name] = coded[name] = tensorOf(values);
      continue;
    }
    const [rows = 0, cols = 0] = isTransposed ? [...values.shape].reverse() : values.shape;
    const quantized = randomQuantized(rows, cols, { bits: 4, group: 32, symmetric: false }, rng);
    Object.assign(coded, pack(name.replace(/\.weight$/, ""), quantized));
    const weights = weightsOf(quantized);
    const stored = isTransposed
      ? Array.from({ length: cols }, (_, c) => weights.map((row) => row[c] as number))
      : weights;
    plain[name] = scaleTensor(values.shape, stored.flat(), "F32");
  }
  return { coded, plain };
}

describe.each(Object.entries(METHODS))("%s", (_, [pack, settings]) => {
  test.each(
    named.filter(([, { of, config }]) => [...FUSED, ...MIXTURES].includes(of) && config === undefined),
  )("%s has the logits of its weights as floats", async (_, choice) => {
    const made = folderFor(choice);
    const { coded, plain } = codedAndPlain(made, choice.type === "gpt2", pack);
    const quantization = { bits: 4, group_size: 32, ...settings };
    const truth = await logitsOf(await save(made.config, plain));
    const found = await logitsOf(await save({ ...made.config, quantization_config: quantization }, coded));
    expect(divergence(truth, found)).toBeLessThan(CLOSE);
  });
});
