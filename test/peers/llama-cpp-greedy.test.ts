import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type EngineOptions, loadEngine, openModel } from "../../src/engine/load-model.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { CONTEXT } from "./comparison.ts";
import { disagreements, logProbabilities, top } from "./divergence.ts";
import { LlamaCpp, needPeer, peerMissing } from "./llama-cpp.ts";

const TOKENS = 180;

let llama: LlamaCpp;

beforeAll(async () => {
  if (peerMissing() === undefined) llama = await LlamaCpp.open();
});

afterAll(async () => {
  await llama?.dispose();
});

beforeEach(needPeer);

/** Greedy tokens from the start token on, and what was predicted after each; one token a step. */
async function greedy(path: string, options: EngineOptions) {
  const opened = await openModel(path);
  const start = opened.file.metadata.integer("tokenizer.ggml.bos_token_id", 0, 2 ** 24);
  const engine = await loadEngine(opened, await describeMachine(), { contextLength: CONTEXT, ...options });
  await opened.source.close();
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
  { model: "models/stories260K/stories260K.gguf", margin: 1e-3 },
  { model: "models/tales/tales-5.8m-f16.gguf", margin: 0.02 },
])(
  `$model: the same ${TOKENS} greedy tokens as llama.cpp`,
  { timeout: 300_000 },
  async ({ model, margin }, context) => {
    const path = shared(context, model);
    const { tokens, predictions } = await greedy(path, {});
    const peer = await llama.load(path, { contextLength: CONTEXT });
    try {
      const theirs = await peer.evaluate(tokens.slice(0, TOKENS));
      const equal = theirs.filter((prediction, i) => top(prediction).token === tokens[i + 1]).length;
      console.log(`${model}: ${equal} of ${TOKENS} tokens are llama.cpp's`);
      // While tokens are equal, what llama.cpp was given is what it would have generated itself.
      expect(disagreements(theirs, predictions, margin)).toEqual([]);
    } finally {
      await peer.dispose();
    }
  },
);
