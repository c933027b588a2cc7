import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadModel, type ProtocolOptions } from "../../src/api/index.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { comparisonOfFile, EXACT_OURS, EXACT_THEIRS } from "./comparison.ts";

const MODEL = "models/stories260K/stories260K.gguf";
const CONTEXT = 128;
const CHUNKS = 6;
/** The texts, as one. */
const STORIES = 12;

const comparison = comparisonOfFile();

/** Windows of tokens, and the first index of each that is scored: both protocols as they are described elsewhere. */
const PROTOCOLS = {
  "llama.cpp": (ids: readonly number[], bos: number) =>
    windows(ids).map((window) => ({ ids: [bos, ...window.slice(1)], from: CONTEXT / 2 + 1 })),
  gptq: (ids: readonly number[]) => windows(ids).map((window) => ({ ids: window, from: 1 })),
} as const;

function windows(ids: readonly number[]): (readonly number[])[] {
  return Array.from({ length: CHUNKS }, (_, i) => ids.slice(i * CONTEXT, (i + 1) * CONTEXT));
}

test.for(["llama.cpp", "gptq"] as const)(
  "perplexity by %s's protocol is that of llama.cpp's logits to the fourth digit",
  { timeout: 300_000 },
  async (protocol, context) => {
    const path = shared(context, MODEL);
    const stories = JSON.parse(
      readFileSync(shared(context, "text/tinystories_1000.json"), "utf8"),
    ) as string[];
    const text = stories.slice(0, STORIES).join("\n");
    await using model = await loadModel(path, { contextLength: CONTEXT, ...EXACT_OURS });
    const options: ProtocolOptions = { protocol, context: CONTEXT };
    const ours = await model.perplexity(text, { ...options, chunks: CHUNKS });
    const parts = PROTOCOLS[protocol](model.tokenizer.encode(text), model.tokenizer.bosId as number);
    const predictions = await comparison.theirs(
      path,
      EXACT_THEIRS,
      parts.map(({ ids }) => ids),
    );
    const surprise = parts.flatMap(({ ids, from }, n) =>
      ids.slice(from).map((token, i) => -(predictions[n * CONTEXT + from + i - 1]?.[token] ?? Number.NaN)),
    );
    const theirs = Math.exp(surprise.reduce((sum, x) => sum + x, 0) / surprise.length);
    console.log(`${protocol}: ${ours.perplexity.value.toFixed(6)}, llama.cpp ${theirs.toFixed(6)}`);
    expect(ours.scored).toBe(surprise.length);
    expect(Math.abs(ours.perplexity.value - theirs)).toBeLessThan(5e-5);
  },
);
