import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/model.ts";
import { FileFormatError } from "../../src/base/errors.ts";
import { gptqBytes, gptqFormat } from "../../src/checkpoints/quantized/gptq-writer.ts";
import { bitsPerWeight, size } from "../../src/cli/options.ts";
import { openModel } from "../../src/engine/load-model.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import {
  type Allocation,
  type Choice,
  probeFormats,
  type Spending,
  spend,
  spendEvenly,
  type Trial,
} from "../../src/quantize/budget.ts";
import { calibrationTexts } from "../../src/quantize/calibration.ts";
import type { QuantizeOptions, QuantizeProgress, QuantizeResult } from "../../src/quantize/options.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { judge } from "../../src/quantize/trial.ts";
import { needNative } from "../backends.ts";
import { cli, temporaryFolder } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { readTensors } from "./decode-gptq.ts";
import { saveSmallModel } from "./small-model.ts";

const folder = temporaryFolder();
const calibration = join(folder, "text.txt");
const small = join(folder, "small.gguf");
const EXACT = { activations: "f32", kv: "f32", placement: "arena", threads: 2 } as const;
const FEW = { calibration, samples: 8, context: 32, threads: 2 } as const;
let made = 0;
const out = () => join(folder, `out-${made++}`);

beforeAll(() => saveSmallModel(small, calibration));

/** Bytes of codes, zero points and scales in a folder. */
function packedBytes(path: string): number {
  const tensors = [...readTensors(path)].filter(([name]) => /\.(qweight|qzeros|scales)$/.test(name));
  return tensors.reduce((sum, [, { bytes }]) => sum + bytes.byteLength, 0);
}

function folderBytes(path: string): number {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}

const choice = (tensor: string, rows: number, cols: number): Choice => {
  const formats = [2, 3, 4, 8].flatMap((bits) => [32, 64].map((group) => gptqFormat(bits, group, false)));
  const options = formats.map((format) => ({ format, bytes: gptqBytes(format, rows, cols) }));
  return { tensor, rows, cols, options };
};
const choices = [choice("a", 64, 128), choice("b", 256, 64), choice("c", 32, 64)];

describe("a budget", () => {
  const uniform = (bits: number, group: number) =>
    choices.reduce((sum, { rows, cols }) => sum + gptqBytes(gptqFormat(bits, group, false), rows, cols), 0);

  const sensitivity: Readonly<Record<string, number>> = { a: 100, b: 1, c: 10 };
  const losses = new Map(
    choices.map(({ tensor, options }) => [
      tensor,
      options.map(({ format }) => (sensitivity[tensor] as number) * 4 ** -format.bits),
    ]),
  );

  test("goes to the matrices that lose most, and is not exceeded", () => {
    const budget = uniform(3, 64);
    const { formats, allocation } = spend(choices, losses, budget);
    expect(allocation.bytes).toBeLessThanOrEqual(budget);
    expect(allocation.modules.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(allocation.bytes);
    const bits = ["a", "b", "c"].map((tensor) => formats.get(tensor)?.bits as number);
    expect(bits[0]).toBeGreaterThan(bits[1] as number);
    expect(bits[2]).toBeGreaterThan(bits[1] as number);
  });

  test("has beside it the best setting for all that fits", () => {
    const { formats, allocation } = spendEvenly(choices, losses, uniform(4, 64) - 1) ?? {};
    expect(new Set([...(formats?.values() ?? [])].map(({ bits }) => bits))).toEqual(new Set([3]));
    expect(allocation?.bytes).toBeLessThan(uniform(4, 64));
    expect(spendEvenly(choices, losses, uniform(2, 64) - 1)).toBeUndefined();
  });

  test("is measured with some three bits", () => {
    expect([...probeFormats(choices).values()].every(({ bits, group }) => bits === 3 && group === 64)).toBe(
      true,
    );
  });
});

test("a mixture must be nearer to the model by 0.005 nats a token, and find the text likelier", () => {
  const uniform = spendEvenly(choices, new Map(), 1e9) as Spending;
  const trial = (divergence: number, surprises: readonly number[]) =>
    judge({ divergence, surprises }, { divergence: 0.08, surprises: [2, 3, 2, 3] }, uniform);
  expect(trial(0.059, [1.9, 2.8, 1.9, 2.8]).kept).toBe("mixture");
  expect(trial(0.061, [1.9, 2.8, 1.9, 2.8]).kept).toBe("uniform");
  expect(trial(0.059, [1.9, 3.2, 1.9, 3.2]).kept).toBe("uniform");
  const { mixture, gain } = trial(0.04, [1, 4, 1, 4]);
  expect(mixture).toEqual({ divergence: 0.01, surprise: 2.5 });
  expect([gain.value, gain.error]).toEqual([0, Math.sqrt(1 / 3)]);
});

test("text is held back from between the samples, as far as there is room", async () => {
  const tokenizer = {
    addsBos: false,
    bosId: undefined,
    encodeLong: async (text: string) => [...text].map((_, i) => i),
  } as unknown as Parameters<typeof calibrationTexts>[0];
  const file = join(folder, "letters.txt");
  writeFileSync(file, "x".repeat(100));
  const { samples, heldBack } = await calibrationTexts(tokenizer, { file, samples: 3, context: 10 });
  expect(samples.map(([first]) => first)).toEqual([0, 45, 90]);
  expect(heldBack.map(([first]) => first)).toEqual([10, 20, 30, 55, 65, 75]);
  expect(heldBack.every(({ length }) => length === 10)).toBe(true);
  const dense = await calibrationTexts(tokenizer, { file, samples: 10, context: 10 });
  expect(dense.heldBack).toEqual(dense.samples);
});

describe("a folder made under a budget", () => {
  test.for(["gptq", "rtn"] as const)(
    "by %s, has the settings that the record says",
    async (method, context) => {
      await needNative(context);
      const path = out();
      const stages = new Set<QuantizeProgress["stage"]>();
      const { allocation, modules } = (await quantize(small, path, {
        ...FEW,
        method,
        budget: 3.4,
        onProgress: ({ stage }) => stages.add(stage),
      })) as Required<QuantizeResult>;
      expect([...stages]).toEqual(["measuring", "comparing", "quantizing"]);
      expect(allocation.bytes).toBeLessThanOrEqual(allocation.budget);
      expect(allocation.bitsPerWeight).toBeLessThanOrEqual(3.4);
      expect(allocation.bitsPerWeight).toBeGreaterThan(3.2);
      checkTrial(allocation);
      expect(packedBytes(path)).toBe(allocation.bytes);
      expect(modules.map(({ tensor, format }) => [tensor, format]).sort()).toEqual(
        allocation.modules.map(({ tensor, format }) => [tensor, format]).sort(),
      );
      for (const { loss } of allocation.modules) expect(loss).toBeGreaterThan(0);
      checkConfiguration(path, allocation.modules.length);
      const model = await loadModel(path, EXACT);
      const rows = await model.evaluate([1, 2, 3, 4]);
      await model.dispose();
      expect(rows.flatMap((row) => [...row]).every(Number.isFinite)).toBe(true);
    },
  );

  /** A mixture is kept where it is the better one by both measures; otherwise all matrices are alike. */
  function checkTrial({ trial, modules }: Allocation): void {
    const { mixture, uniform, gain, kept, tokens } = trial as Trial;
    expect(tokens).toBeGreaterThan(100);
    for (const { divergence, surprise } of [mixture, uniform]) {
      expect(divergence).toBeGreaterThan(0);
      expect(surprise).toBeGreaterThan(Math.log(300));
    }
    expect(gain.value).toBeCloseTo(uniform.surprise - mixture.surprise, 6);
    const isBetter = uniform.divergence - mixture.divergence >= 0.005 && gain.value > 0;
    expect(kept).toBe(isBetter ? "mixture" : "uniform");
    const formats = new Set(modules.map(({ format }) => format));
    if (kept === "uniform") expect([...formats]).toEqual([uniform.format]);
    else expect(formats.size).toBeGreaterThan(1);
  }

  test("measures once for several budgets", async (context) => {
    await needNative(context);
    const sensitivities = out();
    const stages = async (options: QuantizeOptions) => {
      const seen = new Set<QuantizeProgress["stage"]>();
      const onProgress = ({ stage }: QuantizeProgress) => seen.add(stage);
      const { allocation } = await quantize(small, out(), { ...FEW, sensitivities, ...options, onProgress });
      checkTrial(allocation as Allocation);
      return [[...seen], allocation];
    };
    const [first, allocation] = await stages({ budget: 2.7 });
    expect(first).toEqual(["measuring", "comparing", "quantizing"]);
    expect(await stages({ budget: 2.7 })).toEqual([["comparing", "quantizing"], allocation]);
    await stages({ budget: 4.4 });
    await expect(stages({ budget: 2.7, samples: 7 })).rejects.toThrow("of another model, text or method");
    writeFileSync(sensitivities, "[]");
    await expect(stages({ budget: 2.7 })).rejects.toThrow(FileFormatError);
  });

  /** Every module's setting by the configuration is that of its shapes. */
  function checkConfiguration(path: string, count: number): void {
    const { quantization_config: config } = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    const dynamic = Object.entries(config.dynamic ?? {}) as [string, { bits: number; group_size: number }][];
    const tensors = readTensors(path);
    const modules = [...tensors.keys()].filter((name) => name.endsWith(".qweight"));
    expect(modules).toHaveLength(count);
    for (const name of modules) {
      const module = name.replace(/\.qweight$/, "");
      const own = dynamic.find(([pattern]) => new RegExp(pattern.slice(2)).test(module));
      expect(own?.[0].startsWith("+:") ?? true).toBe(true);
      const { bits, group_size: group } = own?.[1] ?? config;
      const shape = (key: string) => tensors.get(`${module}.${key}`)?.shape as readonly number[];
      const [cols] = shape("g_idx") as [number];
      expect(shape("qweight")[0]).toBe((cols * bits) / 32);
      expect(shape("scales")[0]).toBe(group === -1 ? 1 : cols / group);
    }
  }

  test("of a size, is no larger", async (context) => {
    await needNative(context);
    const [free, path] = [out(), out()];
    const { modules } = await quantize(small, free, { ...FEW, bits: 4, groupSize: 32 });
    const targetSize = folderBytes(free) + 1024 * (modules.length + 1);
    const { allocation } = await quantize(small, path, { ...FEW, targetSize });
    expect(folderBytes(path)).toBeLessThanOrEqual(targetSize);
    // Of a matrix, record and configuration may take a kilobyte.
    const { budget, bytes, bitsPerWeight } = allocation as Allocation;
    expect((bitsPerWeight * budget) / bytes).toBeGreaterThan(3.2);
  });

  test("as GGUF, has types that fit, and keeps to a size", async (context) => {
    await needNative(context);
    const [free, path] = [`${out()}.gguf`, `${out()}.gguf`];
    await quantize(small, free, { ...FEW, budget: 5.2, format: "gguf" });
    const targetSize = statSync(free).size;
    const { allocation } = await quantize(small, path, { ...FEW, targetSize, format: "gguf" });
    expect(statSync(path).size).toBeLessThanOrEqual(targetSize);
    expect(allocation?.bitsPerWeight).toBeGreaterThanOrEqual(5);
    const { file, close } = await openModel(path);
    for (const { tensor, format, bytes } of allocation?.modules ?? []) {
      const { type, byteLength } = file.tensors.get(tensor) as StoredTensor;
      expect([type, byteLength]).toEqual([format, bytes]);
    }
    await close();
  });

  test("from the command line", async (context) => {
    await needNative(context);
    const path = out();
    const { code, stdout } = await cli([
      ...["quantize", small, path, "--calibration", calibration, "--samples", "8", "--context", "32"],
      ...["--budget", "3.2bpw", "--json", "--threads", "2"],
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).allocation.bitsPerWeight).toBeLessThanOrEqual(3.2);
  });

  test("is written as people write it", () => {
    expect(["3.5bpw", "3.5 bpw", "3.5"].map(bitsPerWeight)).toEqual([3.5, 3.5, 3.5]);
    expect(["2.4GB", "900MiB", "12kB", "1000"].map(size)).toEqual([2.4e9, 900 * 2 ** 20, 12_000, 1000]);
    for (const wrong of ["", "GB", "2.4 gigabytes", "-1GB"])
      expect(() => size(wrong)).toThrow("such as 2.4GB");
  });

  const REFUSED: readonly (readonly [string, QuantizeOptions, string])[] = [
    ["beside bits", { ...FEW, budget: 3, bits: 4 }, "leave them out"],
    ["beside a size", { ...FEW, budget: 3, targetSize: 1e6 }, "give one of them"],
    ["without a text", { method: "rtn", budget: 3 }, "needs a calibration text"],
    ["beside a type", { ...FEW, budget: 3, format: "gguf:q4_0" }, "take the format gguf"],
    ["too small", { ...FEW, budget: 1.5 }, "the smallest settings of all modules take"],
    ["of a size that is too small", { ...FEW, targetSize: 1000 }, "the smallest result takes"],
    ["kept without one", { ...FEW, sensitivities: "s.json" }, "under a budget only"],
    ["of nothing", { ...FEW, budget: 0 }, "budget must be a number above 0"],
  ];
  test.each(REFUSED)("%s is refused", async (_, options, message) => {
    const path = out();
    await expect(quantize(small, path, options)).rejects.toThrow(message);
    expect(existsSync(path)).toBe(false);
  });
});

test("at equal bytes, a trained model loses less than with one setting for all", async (context) => {
  await needNative(context);
  const source = shared(context, "models/stories260K/stories260K.gguf");
  const path = shared(context, "text/tinystories_1000.json");
  const stories = JSON.parse(readFileSync(path, "utf8")) as string[];
  const own = join(folder, "stories.txt");
  writeFileSync(own, stories.slice(300).join("\n\n"));
  const options = { calibration: own, samples: 64, context: 128, threads: 2 } as const;
  const [one, mixed] = [out(), out()];
  await quantize(source, one, { ...options, bits: 2, groupSize: 32 });
  // Codes of 2 bits, and for every group an f16 scale and a zero point of 2 bits.
  await quantize(source, mixed, { ...options, budget: 2 + 18 / 32 });
  expect(packedBytes(mixed)).toBeLessThanOrEqual(packedBytes(one));
  const [base, model] = [await loadModel(one, EXACT), await loadModel(mixed, EXACT)];
  const heldOut = stories.slice(0, 100).join("\n\n");
  const { comparison } = await model.perplexity(heldOut, { base, protocol: "gptq", context: 128 });
  await Promise.all([base.dispose(), model.dispose()]);
  const ratio = comparison?.ratio as { value: number; error: number };
  expect(ratio.value + 2 * ratio.error).toBeLessThan(1);
});
