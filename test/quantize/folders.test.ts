import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { RearrangedTensor, ShiftedVector, SlicedTensor } from "../../src/checkpoints/changed-tensors.ts";
import { openModel } from "../../src/engine/load-model.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import { difference } from "../../src/models/difference.ts";
import type { ModelSpec } from "../../src/models/model.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import {
  CASES,
  type FamilyCase,
  filesOf,
  folderFor,
  modelOf,
  tensorsOf,
} from "../checkpoints/family-cases.ts";
import { divergence, saveCheckpoint } from "../checkpoints/random-checkpoint.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { readTensors, type Stored } from "./decode-gptq.ts";

const folder = temporaryFolder();
const EXACT: LoadModelOptions = { activations: "f32", kv: "f32", backend: "wasm" };
/** Nats; what is computed is the same but for the order of sums, and weights that went from 1 + w to w and back. */
const SAME = 1e-10;
/** Nats; of 8 bits. */
const CLOSE = 1e-3;
/** Longer than the windows of the cases. */
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);
/** Quick to run, and still more than one of everything. */
const SMALL = { intermediateSize: 96, vocabularySize: 320 } as const;

const f32 = (value: number): GgufValue => ({ type: "f32", value });
const u32 = (value: number): GgufValue => ({ type: "u32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

const scaled = (kind: string, factor: number): Readonly<Record<string, GgufValue>> => ({
  "rope.freq_base": f32(500),
  "rope.scaling.type": text(kind),
  "rope.scaling.factor": f32(factor),
});

/** Llama 3.1's, of `pairs` pairs: by the published formula, for a base of 10,000. */
function llama3Factors(pairs: number, original: number, high: number): number[] {
  return Array.from({ length: pairs }, (_, i) => {
    const wavelength = 2 * Math.PI * 10000 ** (i / pairs);
    if (wavelength < original / high) return 1;
    if (wavelength > original) return 8;
    const smooth = (original / wavelength - 1) / (high - 1);
    return 1 / ((1 - smooth) / 8 + smooth);
  });
}

const OF_LLAMA = { type: "llama", of: "llama" } as const;
const factors = (values: readonly number[]): FamilyCase => ({
  ...OF_LLAMA,
  vectors: { "rope_freqs.weight": values },
});
const dynamic: FamilyCase = { ...OF_LLAMA, keys: scaled("dynamic", 2) };
const inPart: FamilyCase = { ...OF_LLAMA, keys: { "rope.dimension_count": u32(16) } };

/** Scalings of the rotation that show in the logits of these texts. */
const SCALINGS: readonly FamilyCase[] = [
  { ...OF_LLAMA, keys: scaled("linear", 3) },
  {
    ...OF_LLAMA,
    keys: {
      ...scaled("yarn", 4),
      "rope.scaling.original_context_length": u32(16),
      "rope.scaling.attn_factor": f32(1.1),
      "rope.scaling.yarn_beta_fast": f32(16),
    },
  },
  factors(llama3Factors(16, 600, 4)),
  factors(llama3Factors(16, 600, 32)),
  factors(Array.from({ length: 16 }, (_, i) => (i < 3 ? 1 : 8))),
];

const isMixture = ({ type }: FamilyCase) => ["mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss"].includes(type);
/** Types under which a GGUF file is not written: those of first files, and the one with images. */
const isOther = ({ type }: FamilyCase) =>
  ["RefinedWeb", "RefinedWebModel", "stablelm_epoch", "gemma3"].includes(type);

const named = (cases: readonly FamilyCase[]) =>
  cases.map((choice) => {
    const { type, of, erf, keys = {}, vectors = {} } = choice;
    return [
      [type, of, ...(erf ? ["erf"] : []), ...Object.keys({ ...keys, ...vectors })].join(", "),
      choice,
    ] as const;
  });

const out = () => join(folder, `${Math.random()}`);

/** The file of a case. */
const saveModel = (choice: FamilyCase) => saveGguf(`${out()}.gguf`, modelOf(choice, SMALL));

/** The folder of a case, by the tests' own writer. */
async function saveFolder(choice: FamilyCase): Promise<string> {
  const { config, tensors } = folderFor(choice, SMALL);
  return saveCheckpoint(out(), { files: filesOf(config, tensorsOf(tensors)) });
}

async function converted(from: string, format: string, options: object = {}): Promise<string> {
  const path = out();
  await quantize(from, path, { method: "rtn", format, ...options });
  return path;
}

async function logitsOf(path: string): Promise<Float32Array[]> {
  await using model = await loadModel(path, EXACT);
  return await model.evaluate(TOKENS);
}

const configOf = (path: string) => JSON.parse(readFileSync(join(path, "config.json"), "utf8"));

afterEach(() => {
  vi.restoreAllMocks();
});

/** A model of each way in which tensors differ, and of each kind of rotation. */
const RUN = [
  "llama with biases, heads of another size",
  "gemma2",
  "gemma3",
  "phi2",
  "phi3, long factors, tied",
  "stablelm, parallel, norms of heads",
  "gpt2",
  "gptneox",
  "falcon with two norms",
  "opt, norms after, narrow embeddings",
];
const toRun = CASES.filter((choice) => RUN.includes(choice.of) && !isOther(choice) && !choice.erf);

/** Those of them whose matrices have another form, and one whose rows change places. */
const QUANTIZED = [
  "llama with biases, heads of another size",
  "phi2",
  "gpt2",
  "gptneox",
  "falcon with two norms",
];

/** All that is said of a model, but for its name and windows that are longer than its texts. */
function saidOf({ config, layers, ...others }: ModelSpec) {
  const { name: _name, ...sizes } = config;
  const seen = layers.map(({ attention, ...rest }) => {
    const { window = Number.POSITIVE_INFINITY, ...own } = attention;
    return { ...rest, attention: { ...own, ...(window < config.contextLength ? { window } : {}) } };
  });
  return { ...others, config: sizes, layers: seen };
}

describe("a GGUF file as a folder", () => {
  const cases = CASES.filter((choice) => !isMixture(choice) && !isOther(choice));

  test.each(named(cases))("%s: has what the family has", async (_, choice) => {
    const path = await converted(await saveModel(choice), "safetensors:f32");
    const wanted = folderFor(choice, SMALL);
    // Some files of GPT-2 lack the prefix.
    const prefix = choice.type === "gpt2" ? "transformer." : "";
    const found = new Map([...readTensors(path)].map(([name, one]) => [name.replace(prefix, ""), one]));
    expect([...found.keys()].sort()).toEqual([...wanted.tensors.keys()].sort());
    for (const [name, { shape, rows }] of wanted.tensors) {
      const { shape: own, bytes } = found.get(name) as Stored;
      expect([name, own]).toEqual([name, [...shape]]);
      const values = rows.flatMap((row) => [...row]);
      expect(values.every((value, i) => Math.abs(value - bytes.getFloat32(4 * i, true)) < 1e-7)).toBe(true);
    }
    const saved = await openModel(await saveFolder(choice));
    const opened = await openModel(path);
    expect(difference(saidOf(opened.spec), saidOf(saved.spec))).toBe(undefined);
    await Promise.all([saved.close(), opened.close()]);
    const { model_type, architectures, torch_dtype } = configOf(path);
    const isPlain = choice.type === "mistral" && choice.config === undefined;
    expect({ model_type, torch_dtype }).toEqual({
      model_type: isPlain ? "llama" : choice.type,
      torch_dtype: "float32",
    });
    expect(architectures).toHaveLength(1);
  });

  test.each(named([...toRun, ...SCALINGS, dynamic, inPart]))("%s: has its logits", async (_, choice) => {
    const file = await saveModel(choice);
    const path = await converted(file, "safetensors:f32");
    expect(divergence(await logitsOf(file), await logitsOf(path))).toBeLessThan(SAME);
  });

  test.each(named(toRun.filter(({ of }) => QUANTIZED.includes(of))))("%s: in 8 bits", async (_, choice) => {
    const file = await saveModel(choice);
    const bits = { bits: 8, groupSize: 32 };
    const path = await converted(file, "gptq", bits);
    expect(divergence(await logitsOf(file), await logitsOf(path))).toBeLessThan(CLOSE);
    // Of the floats in a folder the same codes are made.
    const again = await converted(await converted(file, "safetensors:f32"), "gptq", bits);
    expect(weightsIn(again)).toEqual(weightsIn(path));
  });
});

/** Bytes of all tensors by name. */
function weightsIn(path: string): Readonly<Record<string, Buffer>> {
  const tensors = [...readTensors(path)].map(([name, { bytes }]) => {
    return [name, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)] as const;
  });
  return Object.fromEntries(tensors);
}

describe("a folder as a GGUF file", () => {
  test.each(named(CASES.filter((choice) => !isMixture(choice))))("%s: has the tensors", async (_, choice) => {
    const model = modelOf(choice, SMALL);
    const path = await converted(await saveFolder(choice), "gguf:f32");
    const { file, spec, close } = await openModel(path);
    for (const { name, shape, data } of model.tensors) {
      // In two tensors, or in three.
      if (choice.of === "phi2" && name.includes("attn_qkv")) continue;
      const tensor = file.tensors.get(name) as StoredTensor;
      expect([name, tensor.shape]).toEqual([name, shape]);
      const wanted = new Float32Array(new Uint8Array(Buffer.concat([...data()])).buffer);
      const bytes = new Uint8Array(4 * wanted.length);
      await tensor.readRows(0, bytes);
      const found = new Float32Array(bytes.buffer);
      // Factors of the rotation are computed anew, weights are not but for 1 + w.
      expect(wanted.every((value, i) => Math.abs(value - found[i]!) < 1e-6)).toBe(true);
    }
    expect(spec.config.rope?.pairing).toBe(
      PAIRINGS[spec.config.architecture] ?? (spec.config.rope && "halves"),
    );
    await close();
  });

  test.each(named(toRun))("%s: has its logits", async (_, choice) => {
    const path = await saveFolder(choice);
    const truth = await logitsOf(path);
    const found = await logitsOf(await converted(path, "gguf:f32"));
    expect(divergence(truth, found)).toBeLessThan(SAME);
  });

  const isCase = (type: string, more: Partial<FamilyCase>) => (choice: FamilyCase) =>
    choice.type === type &&
    choice.erf === more.erf &&
    (choice.keys === undefined) === (more.keys === undefined);
  test.each([
    ["gemma2", {}, []],
    ["mistral", { keys: {} }, []],
    ["phi3", { keys: {} }, ["attention.sliding_window_pattern"]],
    ["phi", { erf: true }, ["feed_forward.activation"]],
  ] as const)("%s %o has of our own keys only those that matter: %o", async (type, more, wanted) => {
    const choice = CASES.find(isCase(type, more)) as FamilyCase;
    const { file, close } = await openModel(await converted(await saveFolder(choice), "gguf:f32"));
    const own = /rope\.pairing|feed_forward\.activation|sliding_window_pattern|yarn_truncate/;
    const found = [...file.metadata.entries.keys()].filter((key) => own.test(key));
    expect(found.map((key) => key.replace(/^\w+\./, ""))).toEqual(wanted);
    await close();
  });
});

/** Architectures whose rows of queries and keys change places between the two. */
const PAIRINGS: Readonly<Record<string, string>> = { llama: "interleaved", smollm3: "interleaved" };

type Reading = (this: StoredTensor, first: number, target: Uint8Array) => Promise<void>;

/** What a tensor is made of, as it stands there. */
const unchanged: Reading = function (first, target) {
  return (Reflect.get(this, "from") as StoredTensor).readRows(first, target);
};

describe("what is left out shows", () => {
  const CONTROLS = [
    ["pairs of rotated rows", "llama", RearrangedTensor],
    ["groups of heads", "falcon with two norms", RearrangedTensor],
    ["groups of heads", "gptneox", RearrangedTensor],
    ["norms that stand for 1 + w", "gemma", ShiftedVector],
    ["parts of a fused matrix", "phi2", SlicedTensor],
    ["norms of heads", "stablelm, parallel, norms of heads", SlicedTensor],
  ] as const;
  test.each(CONTROLS)("%s: %s", async (_, of, tensor) => {
    const choice = CASES.find((one) => one.of === of && one.config === undefined) as FamilyCase;
    const file = await saveModel(choice);
    vi.spyOn(tensor.prototype as StoredTensor, "readRows").mockImplementation(unchanged);
    const wrong = await converted(file, "safetensors:f32");
    vi.restoreAllMocks();
    expect(divergence(await logitsOf(file), await logitsOf(wrong))).toBeGreaterThan(1e-3);
  });

  const windowed = CASES.filter(({ type, keys }) => type === "mistral" && keys !== undefined);
  test.each(named([...SCALINGS, ...windowed]))("a setting: %s", async (_, choice) => {
    const file = await saveModel(choice);
    const path = await converted(file, "safetensors:f32");
    const { rope_scaling: _scaling, sliding_window: _window, ...others } = configOf(path);
    await writeFile(join(path, "config.json"), JSON.stringify(others));
    expect(divergence(await logitsOf(file), await logitsOf(path))).toBeGreaterThan(1e-6);
  });
});

describe("what has no words is said", () => {
  test.each([
    [
      "factors that are not Llama 3.1's",
      factors(Array.from({ length: 16 }, (_, i) => 1 + ((i * 7) % 5))),
      "model_type llama has no words for factors of the rotation",
    ],
    [
      "two scalings at once",
      { ...factors(llama3Factors(16, 600, 4)), keys: scaled("linear", 3) },
      "no words for a linear scaling of a rotation with factors of its own",
    ],
    [
      "another function",
      { ...OF_LLAMA, keys: { "feed_forward.activation": text("clampedSilu") } },
      "no words for the function clampedSilu",
    ],
  ])("%s", async (_, choice, message) => {
    const file = await saveModel(choice);
    await expect(converted(file, "safetensors:f32")).rejects.toThrow(message);
  });

  test("a folder of more than text as a folder", async () => {
    const choice = CASES.find(({ type }) => type === "gemma3") as FamilyCase;
    await expect(converted(await saveFolder(choice), "safetensors:f32")).rejects.toThrow("other than text");
  });

  test("another type of floats", async () => {
    const file = await saveModel(OF_LLAMA);
    await expect(converted(file, "safetensors:q4_0")).rejects.toThrow("known: safetensors:f32");
  });
});
