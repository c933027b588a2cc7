import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  AbortedError,
  FileFormatError,
  type LoadModelOptions,
  loadModel,
  type Model,
  type ModelPerplexityOptions,
  type PerplexityProgress,
  UsageError,
} from "../../src/api/index.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { randomVocabulary } from "../../src/models/random-vocabulary.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { tinyWith } from "../engine/damaged.ts";
import { klDivergence, logOf, mean, type Scored, scoredOf, standardError } from "./oracle.ts";

const folder = temporaryFolder();
const path = join(folder, "tiny.gguf");
const open: Model[] = [];
/** Some 340 tokens of the random vocabulary. */
const TEXT = "bada gigi lo nu ".repeat(20) + "z".repeat(30);

beforeAll(async () => {
  await saveGguf(path, tinyLlama());
});

afterEach(async () => {
  for (const model of open.splice(0)) await model.dispose();
});

async function load(options: LoadModelOptions = {}, file = path): Promise<Model> {
  const model = await loadModel(file, { backend: "wasm", threads: 1, ...options });
  open.push(model);
  return model;
}

/** Tokens of windows, and which of a window are scored, written as the protocols are: from the first token on. */
type Windows = (
  ids: readonly number[],
  bos: number,
) => { ids: readonly number[]; wanted: (i: number) => boolean }[];

const sideBySide = (ids: readonly number[], size: number) =>
  Array.from({ length: Math.floor(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size));

const llamaCpp =
  (context: number): Windows =>
  (ids, bos) =>
    sideBySide(ids, context).map((window) => ({
      ids: [bos, ...window.slice(1)],
      // Positions n/2 … n − 2 predict the next.
      wanted: (i) => i - 1 >= Math.floor(context / 2) && i - 1 <= context - 2,
    }));

const llamaCppStrided =
  (context: number, stride: number): Windows =>
  (ids) => {
    const windows = [];
    for (let start = 0; start < ids.length - context; start += stride) {
      const wanted = (i: number) => i - 1 >= context - stride - 1 && i - 1 < context - 1;
      windows.push({ ids: ids.slice(start, start + context), wanted });
    }
    return windows;
  };

const gptq =
  (context: number): Windows =>
  (ids) =>
    sideBySide(ids, context).map((window) => ({ ids: window, wanted: () => true }));

const gptqStrided =
  (context: number, stride: number): Windows =>
  (ids) => {
    const seen = new Set<number>([0]);
    const windows = [];
    for (let start = 0; start + context <= ids.length; start += stride) {
      const fresh = new Set<number>();
      for (let i = start; i < start + context; i++) if (!seen.has(i)) fresh.add(i - start);
      for (const i of fresh) seen.add(start + i);
      windows.push({ ids: ids.slice(start, start + context), wanted: (i: number) => fresh.has(i) });
    }
    return windows;
  };

const gptqLed =
  (context: number): Windows =>
  (ids, bos) =>
    sideBySide(ids.slice(1), context - 1).map((window) => ({ ids: [bos, ...window], wanted: () => true }));

const PROTOCOLS: readonly (readonly [ModelPerplexityOptions, Windows])[] = [
  [{ context: 48 }, llamaCpp(48)],
  [{ context: 31 }, llamaCpp(31)],
  [{ context: 3 }, llamaCpp(3)],
  [{ context: 32, stride: 10 }, llamaCppStrided(32, 10)],
  [{ context: 40, stride: 39 }, llamaCppStrided(40, 39)],
  [{ protocol: "gptq", context: 48 }, gptq(48)],
  [{ protocol: "gptq", context: 2 }, gptq(2)],
  [{ protocol: "gptq", context: 48, stride: 20 }, gptqStrided(48, 20)],
  [{ protocol: "gptq", context: 48, bos: "window" }, gptqLed(48)],
];

/** What a protocol scores, by the oracle. */
async function scored(model: Model, windows: Windows): Promise<Scored[]> {
  const ids = model.tokenizer.encode(TEXT);
  return scoredOf(model, windows(ids, model.tokenizer.bosId as number));
}

describe("protocols against f64 from full logits", () => {
  test.for(PROTOCOLS.map(([options, windows]) => [JSON.stringify(options), options, windows] as const))(
    "%s",
    async ([, options, windows]) => {
      const model = await load();
      const expected = (await scored(model, windows)).map((one) => -logOf(one));
      const found = await model.perplexity(TEXT, { ...options, keepTokens: true });
      expect(found.scored).toBe(expected.length);
      const off = [...(found.logProbabilities as Float32Array)].map(
        (log, i) => log + (expected[i] as number),
      );
      expect(Math.max(...off.map(Math.abs))).toBeLessThan(2e-6);
      expect(found.perplexity.value / Math.exp(mean(expected))).toBeCloseTo(1, 6);
      const error = found.perplexity.error / found.perplexity.value;
      expect(error / standardError(expected)).toBeCloseTo(1, 4);
    },
  );

  test("the default is llama.cpp's, with as many tokens as the model was trained on", async () => {
    const model = await load();
    const found = await model.perplexity(TEXT);
    expect(found).toEqual({ ...(await model.perplexity(TEXT, { context: 96 })), ...times(found) });
    expect(found.protocol).toEqual({ name: "llama.cpp", context: 96, stride: 96, bos: "window" });
  });

  test("the first chunks alone, and what is said on the way", async () => {
    const model = await load();
    const said: PerplexityProgress[] = [];
    const found = await model.perplexity(TEXT, {
      context: 40,
      chunks: 2,
      onProgress: (one) => said.push(one),
    });
    expect(found).toMatchObject({ windows: 2, tokens: 80, scored: 38 });
    expect(said.map(({ stage, done, total }) => [stage, done, total])).toEqual([
      ["scoring", 1, 2],
      ["scoring", 2, 2],
    ]);
    expect(said.at(-1)?.perplexity).toEqual(found.perplexity);
  });
});

const times = ({ seconds, tokensPerSecond }: { seconds: number; tokensPerSecond: number }) => ({
  seconds,
  tokensPerSecond,
});

describe("with a base", () => {
  test("statistics against f64 from full logits", async () => {
    const model = await load({ kv: "q8_0" });
    const base = await load({ activations: "f32", kv: "f32" });
    const [ours, theirs] = [await scored(model, gptq(50)), await scored(base, gptq(50))];
    const found = await model.perplexity(TEXT, { protocol: "gptq", context: 50, base });
    const { perplexity, ratio, divergence, sameTop, probability } =
      found.comparison ?? expect.fail("no comparison");
    expect(perplexity.value).toBeCloseTo(Math.exp(-mean(theirs.map(logOf))), 3);
    const differences = ours.map((one, i) => logOf(theirs[i] as Scored) - logOf(one));
    expect(ratio.value).toBeCloseTo(Math.exp(mean(differences)), 6);
    expect(ratio.error).toBeCloseTo(ratio.value * standardError(differences), 6);
    const kl = ours.map((one, i) => klDivergence((theirs[i] as Scored).logs, one.logs));
    expect(mean(kl)).toBeGreaterThan(1e-6);
    expect(Math.abs(divergence.value - mean(kl))).toBeLessThan(2e-7);
    expect(Math.abs(divergence.max - Math.max(...kl))).toBeLessThan(2e-6);
    const top = (one: Scored | undefined) => one?.logs.indexOf(Math.max(...one.logs));
    expect(sameTop.value).toBeCloseTo(mean(ours.map((one, i) => (top(one) === top(theirs[i]) ? 1 : 0))), 12);
    const changes = ours.map((one, i) => Math.exp(logOf(one)) - Math.exp(logOf(theirs[i] as Scored)));
    expect(Math.abs(probability.value - mean(changes))).toBeLessThan(1e-8);
    const sorted = changes.toSorted((a, b) => a - b);
    expect(probability.min).toBeCloseTo(sorted[0] as number, 6);
    expect(probability.median).toBeCloseTo(
      ((sorted[Math.floor((sorted.length - 1) / 2)] as number) +
        (sorted[Math.ceil((sorted.length - 1) / 2)] as number)) /
        2,
      6,
    );
    expect(probability.rootMeanSquare).toBeCloseTo(Math.sqrt(mean(changes.map((p) => p ** 2))), 7);
  });

  test("a model is as itself", async () => {
    const [model, base] = [await load(), await load()];
    const { comparison, perplexity } = await model.perplexity(TEXT, { context: 50, base });
    expect(comparison?.perplexity).toEqual(perplexity);
    expect(comparison?.ratio).toEqual({ value: 1, error: 0 });
    expect(comparison?.sameTop).toEqual({ value: 1, error: 0 });
    expect(comparison?.divergence).toMatchObject({ value: 0, error: 0, min: 0, max: 0 });
    expect(comparison?.probability).toMatchObject({ value: 0, min: 0, median: 0, max: 0, rootMeanSquare: 0 });
  });

  test.for([
    ["another size", "has", { vocabularySize: 320 }],
    ["another token", "token 299", {}],
  ] as const)("of %s is refused", async ([what, message, shape]) => {
    const other = join(folder, `${what}.gguf`);
    const size = "vocabularySize" in shape ? shape.vocabularySize : 300;
    const texts = [
      ...(randomVocabulary(size).get("tokenizer.ggml.tokens") as { values: PackedStrings }).values,
    ];
    texts[texts.length - 1] = "changed";
    const tokens = { type: "array", of: "string", values: PackedStrings.from(texts) } as const;
    await saveGguf(other, size === 300 ? tinyWith({ "tokenizer.ggml.tokens": tokens }) : await larger(size));
    const [model, base] = [await load(), await load({}, other)];
    const refused = model.perplexity(TEXT, { context: 48, base });
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
    // Neither is busy any more.
    await model.perplexity(TEXT, { context: 48 });
    await base.perplexity(TEXT, { context: 48 });
  });

  test("a model is not its own base, and a busy one is none", async () => {
    const model = await load();
    await expect(model.perplexity(TEXT, { context: 48, base: model })).rejects.toThrow("busy");
  });
});

async function larger(vocabularySize: number) {
  const { randomLlama } = await import("../../src/models/random-llama.ts");
  const shape = { layers: 1, hiddenSize: 64, intermediateSize: 96, heads: 2, kvHeads: 1, contextLength: 96 };
  return randomLlama({ ...shape, vocabularySize, format: "Q4_0" });
}

describe("what cannot be measured", () => {
  test.for([
    ["an empty text", "", {}, /the text has 1 token; llama.cpp's protocol needs at least 192/],
    ["a text shorter than two windows", TEXT.slice(0, 40), { context: 48 }, /needs at least 96/],
    [
      "a text shorter than a window",
      "bada",
      { protocol: "gptq", context: 48 },
      /gptq's protocol needs at least 48/,
    ],
    ["a context that the model has not", TEXT, { context: 97 }, /more than the context of 96/],
    ["a context without tokens to score", TEXT, { context: 2 }, /context must be a whole number from 3/],
    ["no stride", TEXT, { context: 48, stride: 0 }, /stride must be/],
    ["a stride beyond the window", TEXT, { context: 48, stride: 48 }, /from 1 to 47/],
    ["a start token by choice in llama.cpp's protocol", TEXT, { bos: "text" }, /bos is for/],
    ["no chunks", TEXT, { chunks: 0 }, /chunks must be/],
    ["another protocol", TEXT, { protocol: "best" as "gptq" }, /protocol must be one of/],
  ] as const)("%s", async ([, text, options, message]) => {
    const refused = (await load()).perplexity(text, options);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });

  test("an aborted one stops, and the model goes on", async () => {
    const model = await load();
    const stop = new AbortController();
    const running = model.perplexity(TEXT, {
      context: 40,
      onProgress: () => stop.abort(),
      signal: stop.signal,
    });
    await expect(running).rejects.toThrow(AbortedError);
    expect((await model.perplexity(TEXT, { context: 40, chunks: 3 })).windows).toBe(3);
  });

  test("weights that give no numbers", async () => {
    const broken = join(folder, "broken.gguf");
    const { metadata, tensors } = tinyLlama();
    const huge = tensors.map((tensor) => {
      if (tensor.name !== "output_norm.weight") return tensor;
      return { ...tensor, data: () => [new Uint8Array(new Float32Array(64).fill(3e38).buffer)] };
    });
    await saveGguf(broken, { metadata, tensors: huge });
    const refused = (await load({}, broken)).perplexity(TEXT, { context: 48 });
    await expect(refused).rejects.toThrow(FileFormatError);
    await expect(refused).rejects.toThrow("not finite");
  });
});
