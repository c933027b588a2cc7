import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type EngineOptions, loadEngine, openModel } from "../../src/engine/load-model.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { CONTEXT, comparisonOfFile, EXACT_THEIRS } from "./comparison.ts";
import { disagreements, logProbabilities, meanKl, top } from "./divergence.ts";
import { quantizedTensor, rewriteModel } from "./model-files.ts";

const STORIES = "models/stories260K/stories260K.gguf";
const TALES = "models/tales/tales-5.8m-f16.gguf";
const TOKENS = 180;
/** Our divergence from the f32 model, as a multiple of llama.cpp's. */
const AS_GOOD = 1.25;
/** Favourites must be the same where they lead by more than this (nats). */
const MARGIN = 0.1;

const comparison = comparisonOfFile();

/** Greedy tokens from the start token on, and what was predicted after each; one token a step. */
async function greedy(path: string, options: EngineOptions) {
  const opened = await openModel(path);
  const start = opened.file.metadata.integer("tokenizer.ggml.bos_token_id", 0, 2 ** 24);
  const engine = await loadEngine(opened, await describeMachine(), { contextLength: CONTEXT, ...options });
  await opened.close();
  try {
    const sequence = engine.open();
    const tokens = [start];
    const predictions: Float64Array[] = [];
    while (predictions.length < TOKENS) {
      const token = tokens.at(-1) as number;
      const [logits] = await engine.step([{ sequence, token, output: true }]);
      const prediction = logProbabilities(logits as Float32Array);
      predictions.push(prediction);
      tokens.push(top(prediction).token);
    }
    return { tokens, predictions };
  } finally {
    await engine.dispose();
  }
}

/** Where llama.cpp's favourite leads by less than `margin` (nats), rounding may decide. */
test.for([
  { model: STORIES, margin: 1e-3 },
  { model: TALES, margin: 0.02 },
])(
  `$model: the same ${TOKENS} greedy tokens as llama.cpp`,
  { timeout: 300_000 },
  async ({ model, margin }, context) => {
    const path = shared(context, model);
    const { tokens, predictions } = await greedy(path, {});
    const theirs = await comparison.theirs(path, {}, [tokens.slice(0, TOKENS)]);
    const equal = theirs.filter((prediction, i) => top(prediction).token === tokens[i + 1]).length;
    console.log(`${model}: ${equal} of ${TOKENS} tokens are llama.cpp's`);
    // While tokens are equal, what llama.cpp was given is what it would have generated itself.
    expect(disagreements(theirs, predictions, margin)).toEqual([]);
  },
);

test.for(["Q8_0", "Q4_0", "Q4_1"] as const)(
  "the tales model in %s: as near to the f32 model as llama.cpp",
  { timeout: 300_000 },
  async (format, context) => {
    const from = shared(context, TALES);
    const text = readFileSync(shared(context, "models/tales/val.txt"), "utf8").slice(0, 1500);
    const path = comparison.path("tales");
    await rewriteModel(from, path, (tensor, source) => quantizedTensor(tensor, source, format));
    const texts = [await encode(path, text)];
    const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS, texts);
    const ours = await comparison.ours(path, {}, texts);
    const theirs = meanKl(truth, await comparison.theirs(path, {}, texts));
    console.log(
      `tales in ${format}: ${meanKl(truth, ours).toExponential(2)}, llama.cpp ${theirs.toExponential(2)}`,
    );
    expect(meanKl(truth, ours)).toBeLessThanOrEqual(AS_GOOD * theirs);
    expect(disagreements(truth, ours, MARGIN)).toEqual([]);
  },
);

test("a q8_0 cache is as near to the f32 model as llama.cpp's", { timeout: 300_000 }, async (context) => {
  const path = shared(context, TALES);
  const text = readFileSync(shared(context, "models/tales/val.txt"), "utf8").slice(0, 1500);
  const texts = [await encode(path, text)];
  const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS, texts);
  const ours = await comparison.ours(path, { kv: "q8_0" }, texts);
  const theirs = meanKl(truth, await comparison.theirs(path, { kv: "q8_0" }, texts));
  console.log(`q8_0 cache: ${meanKl(truth, ours).toExponential(2)}, llama.cpp ${theirs.toExponential(2)}`);
  expect(meanKl(truth, ours)).toBeLessThanOrEqual(AS_GOOD * theirs);
  expect(disagreements(truth, ours, MARGIN)).toEqual([]);
});

/** The first tokens of a text, as many as fit. */
async function encode(path: string, text: string): Promise<number[]> {
  const opened = await openModel(path);
  await opened.close();
  return opened.tokenizer().encode(text).slice(0, CONTEXT);
}
