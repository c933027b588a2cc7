import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/model.ts";
import { FileAccessError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { gptqFormat } from "../../src/checkpoints/quantized/gptq-writer.ts";
import { openModel } from "../../src/engine/load-model.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import { requireSpace } from "../../src/host/atomic-folder.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { roundToNearest } from "../../src/quantize/nearest.ts";
import type { QuantizeOptions } from "../../src/quantize/options.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { weightsOf } from "../../src/quantize/quantized-tensor.ts";
import { extentsOf, readWeights } from "../../src/quantize/working-tensors.ts";
import { needNative } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { ARCHITECTURES } from "../models/architectures.ts";
import { decodeModule, readTensors } from "./decode-gptq.ts";
import { SHAPE, saveSmallModel } from "./small-model.ts";

const folder = temporaryFolder();
const calibration = join(folder, "text.txt");
const small = join(folder, "small.gguf");
const EXACT = { activations: "f32", kv: "f32", placement: "arena", threads: 1 } as const;
const FEW = { calibration, samples: 8, context: 32, threads: 2 } as const;
const TOKENS = Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300);
/** The small model's matrices have 64 and 96 inputs. */
const GROUPS: Readonly<Record<string, QuantizeOptions>> = { gptq: { groupSize: 32 } };
let made = 0;

beforeAll(() => saveSmallModel(small, calibration));

function mixtral() {
  const found = ARCHITECTURES.find(({ name }) => name === "mixtral");
  if (found === undefined) throw new Error("no case mixtral");
  return found.model;
}

const out = () => join(folder, `out-${made++}`);

async function logits(path: string, tokens: readonly number[] = TOKENS): Promise<Float32Array[]> {
  const model = await loadModel(path, EXACT);
  try {
    return await model.evaluate(tokens);
  } finally {
    await model.dispose();
  }
}

function meanKl(wanted: readonly Float32Array[], found: readonly Float32Array[]): number {
  const logOf = (row: Float32Array) => {
    const most = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((total, value) => total + Math.exp(value - most), 0);
    return Array.from(row, (value) => value - most - Math.log(sum));
  };
  const each = wanted.map((row, i) => {
    const [p, q] = [logOf(row), logOf(found[i] as Float32Array)];
    return p.reduce((sum, value, k) => sum + Math.exp(value) * (value - q[k]!), 0);
  });
  return each.reduce((sum, value) => sum + value, 0) / each.length;
}

describe("a GPTQ folder", () => {
  const CASES = [2, 3, 4, 8].flatMap((bits) => [true, false].map((symmetric) => ({ bits, symmetric })));
  test.each(CASES)(
    "of $bits bits, symmetric: $symmetric, has the quantizer's own weights",
    async (choice) => {
      const path = out();
      await quantize(small, path, { method: "rtn", groupSize: 32, ...choice });
      const { file, close } = await openModel(small);
      const name = "blk.1.ffn_down.weight";
      const tensor = file.tensors.get(name) as StoredTensor;
      const weights = await readWeights(tensor, 0, extentsOf(tensor).rows);
      const format = gptqFormat(choice.bits, 32, choice.symmetric);
      const quantized = weightsOf(roundToNearest(name, weights, format, 1));
      await close();
      const decoded = decodeModule(path, "model.layers.1.mlp.down_proj", choice.bits).flat();
      expect(decoded.every((value, i) => value === quantized[i])).toBe(true);
      expect((await logits(path)).flatMap((row) => [...row]).every(Number.isFinite)).toBe(true);
    },
  );

  test("of 8 bits, converted from GGUF, gives the model's logits", async () => {
    const path = out();
    const result = await quantize(small, path, { method: "rtn", bits: 8, groupSize: 32 });
    expect(meanKl(await logits(small), await logits(path))).toBeLessThan(1e-3);
    expect(result.modules).toHaveLength(14);
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    expect(config.quantization_config).toMatchObject({ quant_method: "gptq", bits: 8, group_size: 32 });
    const report = JSON.parse(readFileSync(join(path, "quantize_report.json"), "utf8"));
    expect(report.modules[0].weightError).toBeLessThan(1e-4);
  });

  test("with classic act-order has a list of groups, and reads back", async (context) => {
    await needNative(context);
    const [plain, path] = [out(), out()];
    const options = { ...FEW, bits: 4, groupSize: 32 } as const;
    await quantize(small, plain, { ...options, actOrder: "none" });
    await quantize(small, path, { ...options, actOrder: "classic" });
    const list = readTensors(path).get("model.layers.0.mlp.down_proj.g_idx");
    const groups = Array.from({ length: 96 }, (_, i) => list?.bytes.getInt32(4 * i, true) as number);
    expect(groups.some((group, i) => group < (groups[i - 1] ?? 0))).toBe(true);
    const truth = await logits(small);
    expect(meanKl(truth, await logits(path))).toBeLessThan(2 * meanKl(truth, await logits(plain)));
  });

  test("keeps what has no place in the format as it is", async () => {
    const [odd, path] = [join(folder, "odd.gguf"), out()];
    await saveGguf(odd, randomModel({ ...SHAPE, intermediateSize: 172 }));
    const notices: string[] = [];
    const { skipped } = await quantize(odd, path, {
      method: "rtn",
      bits: 4,
      groupSize: 32,
      onNotice: (line) => notices.push(line),
    });
    expect(skipped).toHaveLength(6);
    expect(notices).toHaveLength(6);
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    expect(Object.keys(config.quantization_config.dynamic)[0]).toContain("mlp");
    await logits(path);
  });
});

describe("a GGUF file", () => {
  test.each(["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "f16", "bf16", "f32"])(
    "of %s is read back",
    async (type) => {
      const path = `${out()}.gguf`;
      await quantize(small, path, { method: "rtn", format: `gguf:${type}` });
      const limit = type === "q8_0" || type.includes("f") ? 2e-3 : 0.3;
      expect(meanKl(await logits(small), await logits(path))).toBeLessThan(limit);
      expect(existsSync(`${path}.json`)).toBe(true);
    },
  );

  test("goes to a folder and back", async () => {
    const [there, back] = [out(), `${out()}.gguf`];
    await quantize(small, there, { method: "rtn", bits: 8, groupSize: 32 });
    await expect(quantize(there, back, { method: "rtn", format: "gguf:q8_0" })).rejects.toThrow(
      "is quantized already",
    );
    expect(existsSync(back)).toBe(false);
  });

  const NAMES = ["gemma2", "phi2", "gpt2", "falcon with two norms"];
  const CASES = ARCHITECTURES.filter(({ name }) => NAMES.includes(name));
  test.for(CASES)("of $name, by gptq", { timeout: 120_000 }, async ({ name, model }, context) => {
    await needNative(context);
    const [from, path] = [join(folder, `${name}.gguf`), `${out()}.gguf`];
    await saveGguf(from, randomModel({ ...model, layers: 2 }));
    // As many tokens as the largest matrix has inputs, and some more.
    const many = { ...FEW, samples: 24, context: 64 } as const;
    const options = { ...many, format: "gguf:q4_0", trueSequential: name === "gpt2" } as const;
    const { modules } = await quantize(from, path, options);
    expect(modules.filter(({ method }) => method === "gptq").length).toBeGreaterThanOrEqual(8);
    for (const { outputError } of modules.filter(({ method }) => method === "gptq")) {
      expect(outputError).toBeGreaterThan(0);
    }
    const rounded = `${out()}.gguf`;
    await quantize(from, rounded, { method: "rtn", format: "gguf:q4_0" });
    const truth = await logits(from);
    expect(meanKl(truth, await logits(path))).toBeLessThan(2 * meanKl(truth, await logits(rounded)));
  });
});

test.each([
  [undefined, "gguf:q4_k"],
  [2, "gguf:q2_k"],
  [5, "gguf:q5_k"],
  [6, "gguf:q6_k"],
  [8, "gguf:q8_0"],
])("gguf of %s bits", async (bits, format) => {
  const [path, same] = [`${out()}.gguf`, `${out()}.gguf`];
  expect((await quantize(small, path, { method: "rtn", format: "gguf", bits })).format).toBe(format);
  await quantize(small, same, { method: "rtn", format });
  expect(readFileSync(path).equals(readFileSync(same))).toBe(true);
});

describe("what cannot be done is said", () => {
  const REFUSED: readonly (readonly [string, QuantizeOptions, string])[] = [
    ["bits without a layout", { method: "rtn", bits: 5 }, "no layout for 5 bits"],
    ["groups that do not divide", { method: "rtn", groupSize: 64 }, "do not divide the 96 inputs"],
    ["gptq without a text", {}, "needs a calibration text"],
    [
      "a text that is too short",
      { calibration, samples: 128, context: 96, groupSize: 32 },
      "tokens, 128 samples",
    ],
    ["another format", { method: "rtn", format: "exl2" }, "no output format exl2"],
    ["another type", { method: "rtn", format: "gguf:q9" }, "known: gptq, gguf:f32"],
    ["bits beside a type", { method: "rtn", format: "gguf:q4_0", bits: 3 }, "bits is of the format gptq"],
    ["a group size beside a type", { method: "rtn", format: "gguf:q4_k", groupSize: 32 }, "groupSize is of"],
    ["no threads", { method: "rtn", threads: 0 }, "threads must be a whole number from 1"],
    ["g_idx in GGUF", { ...FEW, format: "gguf:q8_0", actOrder: "classic" }, "no list g_idx"],
    ["a method", { method: "awq" as "rtn" }, "method must be one of rtn, gptq"],
  ];
  test.each(REFUSED)("%s", async (_, options, message) => {
    const path = out();
    await expect(quantize(small, path, options)).rejects.toThrow(message);
    expect(existsSync(path)).toBe(false);
  });

  test("a result that is there already", async () => {
    await expect(quantize(small, small, { method: "rtn" })).rejects.toThrow("exists already");
    const empty = out();
    mkdirSync(empty);
    const file = { method: "rtn", format: "gguf:q8_0" } as const;
    await expect(quantize(small, empty, file)).rejects.toThrow("exists already");
    await quantize(small, empty, { method: "rtn", groupSize: 32 });
    expect(readdirSync(empty)).toContain("config.json");
  });

  test.each([
    ["a model that is quantized", { ...SHAPE, format: "Q4_0" as GgmlType }, "is quantized already, as Q4_0"],
    ["a mixture of experts", mixtral(), "mixtures of experts cannot be quantized yet"],
  ])("%s", async (name, model, message) => {
    const path = join(folder, `${name}.gguf`);
    await saveGguf(path, randomModel(model));
    for (const format of ["gptq", "gguf:q8_0"]) {
      const to = out();
      await expect(quantize(path, to, { method: "rtn", format })).rejects.toThrow(message);
      expect(existsSync(to)).toBe(false);
    }
  });

  test("a weight that is not a number", async () => {
    const path = join(folder, "nan.gguf");
    const model = randomModel(SHAPE);
    const tensors = model.tensors.map((tensor) => {
      if (tensor.name !== "blk.0.attn_k.weight") return tensor;
      const data = () => {
        const [chunk] = [...tensor.data()] as [Uint8Array];
        chunk.set([0, 0, 0xc0, 0x7f], 4 * 70);
        return [chunk];
      };
      return { ...tensor, data };
    });
    await saveGguf(path, { ...model, tensors });
    const to = out();
    await expect(quantize(path, to, { method: "rtn", groupSize: 32 })).rejects.toThrow(
      "tensor blk.0.attn_k.weight: row 1, weight 6 is NaN",
    );
    expect(readdirSync(folder).filter((name) => name.includes(basename(to)))).toEqual([]);
  });

  test.each(["gptq", "gguf:q8_0"])(
    "what another process makes meanwhile is not replaced: %s",
    async (format) => {
      const to = out();
      const both = [1, 2].map(() => quantize(small, to, { method: "rtn", format, ...GROUPS[format] }));
      const settled = await Promise.allSettled(both);
      expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const [refused] = settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
      expect(refused).toBeInstanceOf(FileAccessError);
      expect((refused as Error).message).toContain("exists already");
    },
  );

  test("a disk without room", async () => {
    await expect(requireSpace(join(folder, "large"), 2 ** 60)).rejects.toThrow("the device has only");
  });
});

test("interrupted at any moment, it leaves nothing", { timeout: 120_000 }, async (context) => {
  await needNative(context);
  const own = join(folder, "interrupted");
  mkdirSync(own);
  const rng = new Rng(9);
  let stopped = 0;
  for (let i = 0; i < 20; i++) {
    const path = join(own, `model-${i}`);
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), rng.integer(400));
    const options = { ...FEW, groupSize: 32, signal: controller.signal } as const;
    const done = await quantize(small, path, options).then(
      () => true,
      () => false,
    );
    clearTimeout(timer);
    if (done) await logits(path);
    else stopped++;
    expect(readdirSync(own).filter((name) => !name.startsWith("model-"))).toEqual([]);
    expect(existsSync(path)).toBe(done);
  }
  expect(stopped).toBeGreaterThan(0);
});

test("what a process left when it was killed is removed by the next one", async () => {
  const own = join(folder, "abandoned");
  mkdirSync(join(own, ".model.999999999.0123abcd.tmp"), { recursive: true });
  mkdirSync(join(own, `.model.${process.pid}.0123abcd.tmp`));
  await quantize(small, join(own, "model"), { method: "rtn", groupSize: 32 });
  expect(readdirSync(own).sort()).toEqual([`.model.${process.pid}.0123abcd.tmp`, "model"]);
});
