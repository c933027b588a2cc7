import { rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { FileAccessError, FileFormatError, QigenError, UnsupportedError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { readCheckpoint } from "../../src/checkpoints/checkpoint.ts";
import { CheckpointTexts } from "../../src/checkpoints/checkpoint-texts.ts";
import { openModelFiles } from "../../src/host/model-files.ts";
import { modelSpec } from "../../src/models/index.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { safetensors, type TensorData } from "../files/safetensors-fixtures.ts";
import { packGptq, randomQuantized } from "./packers.ts";
import {
  CONFIG,
  codes,
  floats,
  json,
  memoryFolder,
  randomCheckpoint,
  saveCheckpoint,
} from "./random-checkpoint.ts";

const folder = temporaryFolder();
const FLIPS = 600;

type Files = Readonly<Record<string, Uint8Array>>;

const good = randomCheckpoint(floats("F16"), { layers: 1 }).files;
const quantized = randomCheckpoint(
  codes(
    (outputs, inputs, rng) => randomQuantized(outputs, inputs, { bits: 4, group: 32, symmetric: true }, rng),
    (module, made) => packGptq(module, made, { format: "gptq" }),
  ),
  {
    layers: 1,
    config: { quantization_config: { quant_method: "gptq", bits: 4, group_size: 32, sym: true } },
  },
).files;

/** Everything that is read before weights are: works, or a stated error that names the folder, within a second. */
async function outcome(files: Files): Promise<"works" | QigenError> {
  const start = performance.now();
  try {
    const opened = memoryFolder({ files });
    modelSpec(await readCheckpoint(opened, () => {}));
    const texts = await CheckpointTexts.read(opened);
    texts.tokenizer();
    texts.chatTemplate();
    texts.sampling();
    return "works";
  } catch (error) {
    if (!(error instanceof QigenError) || error.code === "INTERNAL") {
      throw new Error(`not a stated error: ${error}`, { cause: error });
    }
    expect(error.message).toContain("folder");
    return error;
  } finally {
    expect(performance.now() - start).toBeLessThan(1000);
  }
}

/** The error of a folder with another configuration. */
async function withConfig(more: object): Promise<QigenError> {
  const layers = { num_hidden_layers: 1 };
  const error = await outcome({ ...good, "config.json": json({ ...CONFIG, ...layers, ...more }) });
  if (error === "works") throw new Error("it works");
  return error;
}

describe("config.json", () => {
  test.each([
    [{ model_type: undefined }, "config.json: model_type: is missing"],
    [{ model_type: ["llama"] }, "config.json: model_type: is not a string"],
    [{ hidden_size: undefined }, "config.json: hidden_size: is missing"],
    [{ hidden_size: "128" }, "config.json: hidden_size: is not a whole number"],
    [{ hidden_size: -1 }, "config.json: hidden_size: is -1, not from 1 to"],
    [{ hidden_size: 2 ** 40 }, "config.json: hidden_size: is 1099511627776, not from 1 to"],
    [{ hidden_size: 1.5 }, "config.json: hidden_size: is not a whole number"],
    [{ hidden_size: 64 }, "tensor token_embd.weight: has shape 128 × 300, not 64 × 300"],
    [{ num_hidden_layers: 4000 }, "tensor blk.1.attn_norm.weight: is missing"],
    [{ num_attention_heads: 2 ** 24 }, "config.json: "],
    [{ num_key_value_heads: 3 }, "3 does not divide 4 heads"],
    [{ num_key_value_heads: 8 }, "config.json: num_key_value_heads: is 8, not from 1 to 4"],
    [{ head_dim: 31 }, "config.json: llama.rope.dimension_count: 31 is odd"],
    [{ rms_norm_eps: 0 }, "config.json: rms_norm_eps: is 0, not a number above 0"],
    [{ rope_theta: -5 }, "config.json: rope_theta: is -5, not a number above 0"],
    [{ rope_scaling: "linear" }, "config.json: rope_scaling: is not a JSON object"],
    [{ rope_scaling: { type: "linear" } }, "config.json: rope_scaling.factor: is missing"],
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, "rope_scaling.low_freq_factor: is missing"],
    [{ tie_word_embeddings: 1 }, "config.json: tie_word_embeddings: is neither true nor false"],
    [{ vocab_size: 10 }, "tensor token_embd.weight: has shape 128 × 300, not 128 × 10"],
    [{ max_position_embeddings: null }, "config.json: max_position_embeddings: is missing"],
    [{ eos_token_id: [1, "x"] }, "config.json: eos_token_id: holds what is no token id"],
    [{ eos_token_id: 5000 }, "eos_token_id: holds 5000, but there are 258 tokens"],
  ])("%o", async (more, message) => {
    const error = await withConfig(more);
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.message).toContain(message);
  });

  test.each([
    [{ model_type: "gpt_neo" }, 'model_type "gpt_neo" is not supported; known: llama, mistral, qwen2'],
    [{ model_type: "__proto__" }, 'model_type "__proto__" is not supported; known: llama'],
    [{ hidden_act: "mish" }, 'hidden_act "mish" is not supported; known: silu'],
    [
      { rope_scaling: { type: "spiral", factor: 2 } },
      'rope scaling "spiral" is not supported; known: default',
    ],
    [{ quantization_config: { quant_method: "aqlm" } }, 'quantization method "aqlm" is not supported'],
  ])("%o is not supported", async (more, message) => {
    const error = await withConfig(more);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toContain(message);
  });

  test("that is missing, no JSON, too large or too deep", async () => {
    const { "config.json": _, ...rest } = good;
    expect(String(await outcome(rest))).toContain(
      "folder: is a folder, not a file, and has no config.json of a model",
    );
    const bytes = (text: string) => new TextEncoder().encode(text);
    const bad: readonly (readonly [Uint8Array, string])[] = [
      [bytes("{"), "is not JSON: it begins like it"],
      [bytes("[]"), "is not a JSON object"],
      [bytes("<html>"), "it looks like a web page"],
      [new Uint8Array(5 << 20).fill(0x20), "bytes, above the limit of 4194304"],
      [bytes("[".repeat(100_000)), "is nested more than 64 deep"],
    ];
    for (const [config, message] of bad) {
      expect(String(await outcome({ ...good, "config.json": config }))).toContain(message);
    }
  });
});

describe("random changes", () => {
  test.each([
    ["config.json", good],
    ["config.json", quantized],
    ["tokenizer.json", good],
  ] as const)("of %s", async (name, files) => {
    const rng = new Rng(3);
    let works = 0;
    for (let i = 0; i < FLIPS; i++) {
      const bytes = (files[name] as Uint8Array).slice();
      for (let n = 1 + rng.integer(3); n > 0; n--) {
        // What JSON is made of, so that most changes are still JSON.
        const characters = '0123456789-.eE"{}[],: truefalsn';
        bytes[rng.integer(bytes.length)] = characters.charCodeAt(rng.integer(characters.length));
      }
      if ((await outcome({ ...files, [name]: bytes })) === "works") works++;
    }
    expect(works).toBeGreaterThan(0);
    expect(works).toBeLessThan(FLIPS);
  });

  test("of the header of quantized weights", async () => {
    const rng = new Rng(4);
    const name = "model.safetensors";
    const bytes = (quantized[name] as Uint8Array).slice();
    const length = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const front = bytes.slice(0, length);
    const seen = new Set<string>();
    for (let i = 0; i < FLIPS / 2; i++) {
      for (let n = 1 + rng.integer(3); n > 0; n--) {
        const characters = '0123456789"ABFIU{}[],:.gqswz_';
        bytes[8 + rng.integer(length - 8)] = characters.charCodeAt(rng.integer(characters.length));
      }
      const result = await outcome({ ...quantized, [name]: bytes });
      seen.add(result === "works" ? result : result.code);
      bytes.set(front);
    }
    expect([...seen].sort()).toContain("FILE_FORMAT");
  });

  test("of the values of quantized weights give a model or an error", async () => {
    const rng = new Rng(5);
    const path = await saveCheckpoint(join(folder, "values"), { files: quantized });
    const bytes = (quantized["model.safetensors"] as Uint8Array).slice();
    const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    for (let i = 0; i < 5; i++) {
      const changed = bytes.slice();
      for (let n = 0; n < 2000; n++) changed[start + rng.integer(bytes.length - start)] = rng.integer(256);
      await writeFile(join(path, "model.safetensors"), changed);
      const result = await textOf(path);
      if (typeof result !== "string") expect(result.message).toContain(path);
    }
  });
});

async function textOf(path: string): Promise<string | QigenError> {
  try {
    await using model = await loadModel(path, { backend: "wasm", threads: 1 });
    let text = "";
    for await (const piece of model.generate("a", { maxTokens: 1 })) text += piece;
    return text;
  } catch (error) {
    if (error instanceof QigenError && error.code !== "INTERNAL") return error;
    throw error;
  }
}

describe("the index", () => {
  /** The good weights in two files, and an index that may be wrong. */
  function split(change: (map: Record<string, unknown>) => unknown = (map) => map): Files {
    const bytes = good["model.safetensors"] as Uint8Array;
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const { __metadata__: _, ...entries } = header;
    const parts: Record<string, TensorData>[] = [{}, {}];
    const map: Record<string, string> = {};
    Object.entries(entries).forEach(([name, entry], i) => {
      const {
        dtype,
        shape,
        data_offsets: offsets,
      } = entry as { dtype: string; shape: number[]; data_offsets: number[] };
      const data = bytes.subarray(8 + length + offsets[0]!, 8 + length + offsets[1]!);
      (parts[i % 2] as Record<string, TensorData>)[name] = { dtype, shape, data };
      map[name] = `model-0000${1 + (i % 2)}-of-00002.safetensors`;
    });
    const { "model.safetensors": __, ...rest } = good;
    return {
      ...rest,
      "model-00001-of-00002.safetensors": safetensors(parts[0] as Record<string, TensorData>),
      "model-00002-of-00002.safetensors": safetensors(parts[1] as Record<string, TensorData>),
      "model.safetensors.index.json": json({ metadata: {}, weight_map: change(map) }),
    };
  }

  test("joins files, whose logits are those of one", async () => {
    const paths = [
      await saveCheckpoint(join(folder, "one file"), { files: good }),
      await saveCheckpoint(join(folder, "two files"), { files: split() }),
      join(folder, "two files", "model-00002-of-00002.safetensors"),
    ];
    const logits = [];
    for (const path of paths) {
      await using model = await loadModel(path, { backend: "wasm" });
      logits.push(await model.evaluate([1, 2, 3]));
    }
    expect(logits[1]).toEqual(logits[0]);
    expect(logits[2]).toEqual(logits[0]);
    const files = await openModelFiles(paths[1] as string);
    expect(files.stamps?.map(({ name }) => name.split("/").at(-1))).toEqual(
      expect.arrayContaining([
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
      ]),
    );
    await files.close();
  });

  const name = "model.norm.weight";
  const otherPart = (file: unknown) => String(file).replace(/0000(.)/, (_, n) => `0000${3 - Number(n)}`);
  test.each([
    [
      "a file outside",
      (map: object) => ({ ...map, [name]: "../model.safetensors" }),
      'names the file "../model.safetensors", which is not in the folder',
    ],
    [
      "an absolute path",
      (map: object) => ({ ...map, [name]: "/etc/passwd" }),
      'names the file "/etc/passwd"',
    ],
    [
      "a file that is missing",
      (map: object) => ({ ...map, [name]: "model-00003-of-00002.safetensors" }),
      "which is not in the folder: is the download complete?",
    ],
    ["a number", (map: object) => ({ ...map, [name]: 3 }), "names no file name"],
    [
      "the wrong file",
      (map: Record<string, unknown>) => ({ ...map, [name]: otherPart(map[name]) }),
      'has tensor "model.norm.weight", which it has not',
    ],
    ["no map", () => undefined, "weight_map: is missing"],
    [
      "a file of another kind",
      (map: object) => ({ ...map, [name]: "config.json" }),
      "config.json: header: this is not a safetensors file: it looks like JSON",
    ],
  ])("with %s", async (_, change, message) => {
    const error = await outcome(split(change));
    expect(error).toBeInstanceOf(FileFormatError);
    expect(String(error)).toContain(message);
  });
});

describe("folders", () => {
  test("without weights, or with weights of another kind, say what is missing", async () => {
    const { "model.safetensors": weights, ...rest } = good;
    expect(String(await outcome(rest))).toContain("folder: model.safetensors: is missing");
    const pickled = { ...rest, "pytorch_model.bin": new Uint8Array(4) };
    expect(String(await outcome(pickled))).toContain("convert pytorch_model.bin to safetensors");
    const two = { ...rest, "a.safetensors": weights as Uint8Array, "b.safetensors": weights as Uint8Array };
    expect(String(await outcome(two))).toContain('without it, name one of "a.safetensors", "b.safetensors"');
    expect(await outcome({ ...rest, "gptq_model-4bit.safetensors": weights as Uint8Array })).toBe("works");
    const { "tokenizer.json": _, ...mute } = good;
    expect(String(await outcome(mute))).toContain("folder: tokenizer.json: is missing");
  });

  test("with a tensor that has no place are not run", async () => {
    const extra = {
      "model.layers.0.self_attn.q_norm.weight": { dtype: "F32", shape: [2], data: new Uint8Array(8) },
    };
    const { files } = randomCheckpoint(floats("F16"), { layers: 1, tensors: extra });
    expect(String(await outcome(files))).toContain('"model.layers.0.self_attn.q_norm.weight"');
    const biased = {
      "model.layers.0.self_attn.q_proj.bias": { dtype: "F32", shape: [2], data: new Uint8Array(8).fill(1) },
    };
    const other = randomCheckpoint(floats("F16"), { layers: 1, tensors: biased });
    expect(String(await outcome(other.files))).toContain("tensor blk.0.attn_q.bias: has shape 2");
  });

  test("with biases of zero and tables of frequencies are run without them", async () => {
    const extra = {
      "model.layers.0.mlp.up_proj.bias": { dtype: "F16", shape: [192], data: new Uint8Array(384) },
      "model.layers.0.self_attn.rotary_emb.inv_freq": { dtype: "F32", shape: [2], data: new Uint8Array(8) },
    };
    expect(await outcome(randomCheckpoint(floats("F16"), { layers: 1, tensors: extra }).files)).toBe("works");
  });

  test("that are not there, or hold what cannot be read", async () => {
    await expect(openModelFiles(join(folder, "nowhere"))).rejects.toThrow(FileAccessError);
    await expect(openModelFiles(join(folder, "nowhere", "config.json"))).rejects.toThrow("nowhere");
    const path = await saveCheckpoint(join(folder, "dangling"), { files: good });
    await rm(join(path, "model.safetensors"));
    await symlink(join(path, "gone"), join(path, "model.safetensors"));
    await expect(openModelFiles(path)).rejects.toThrow(`${path}/model.safetensors: no such file`);
  });
});

describe("what a folder says of text", () => {
  const texts = (files: Files) => CheckpointTexts.read(memoryFolder({ files: { ...good, ...files } }));

  test("end tokens, a chat template and how tokens are chosen", async () => {
    const found = await texts({
      "generation_config.json": json({
        eos_token_id: [257, 5],
        temperature: 0.6,
        top_p: 0.9,
        top_k: 20,
        repetition_penalty: 1.05,
      }),
      "tokenizer_config.json": json({ bos_token: "<s>", add_bos_token: true, chat_template: "old" }),
      "chat_template.jinja": new TextEncoder().encode("{% for m in messages %}[{{ m.content }}]{% endfor %}"),
    });
    const tokenizer = found.tokenizer();
    expect([...tokenizer.eosIds].sort()).toEqual([257, 5]);
    expect(tokenizer.encode("a")[0]).toBe(256);
    expect(found.chatTemplate()?.render([{ role: "user", content: "hello" }], tokenizer)).toBe("[hello]");
    expect(found.sampling()).toEqual({ temperature: 0.6, topP: 0.9, topK: 20, repeatPenalty: 1.05 });
  });

  test("nothing, or that it does not sample, or what is out of range", async () => {
    expect((await texts({})).sampling()).toEqual({});
    const greedy = await texts({ "generation_config.json": json({ do_sample: false }) });
    expect(greedy.sampling()).toEqual({ temperature: 0 });
    const bad = await texts({ "generation_config.json": json({ temperature: -1 }) });
    expect(() => bad.sampling()).toThrow(
      "generation_config.json: sampling: temperature must be a number from 0",
    );
  });
});
