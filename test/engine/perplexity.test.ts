import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { shared } from "../files/gguf-fixtures.ts";

const STORIES = 100;

/** −ln p of `next` after these logits. */
function surprise(logits: Float32Array, next: number): number {
  let greatest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > greatest) greatest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - greatest);
  return greatest + Math.log(sum) - (logits[next] as number);
}

/** e to the mean surprise at the tokens of the texts, each on its own and cut where the context ends. */
async function perplexity(
  path: string,
  texts: readonly string[],
  options: LoadModelOptions,
): Promise<number> {
  const model = await loadModel(path, { backend: "native", threads: 1, ...options });
  try {
    let [total, count] = [0, 0];
    for (const text of texts) {
      const ids = model.tokenizer.encode(text).slice(0, model.contextLength);
      for await (const { position, logits } of model.evaluate(ids, { stream: true })) {
        const next = ids[position + 1];
        if (next === undefined) break;
        total += surprise(logits, next);
        count++;
      }
    }
    expect(count).toBeGreaterThan(100 * texts.length);
    return Math.exp(total / count);
  } finally {
    await model.dispose();
  }
}

describe("perplexity of stories260K on TinyStories", () => {
  test("8-bit weights and activations cost less than 1%; 2-bit ones cost more than 10%", async (context) => {
    await need(NATIVE_TARGETS[0] as TestTarget, context);
    const path = shared(context, "models/stories260K/stories260K.gguf");
    const all = JSON.parse(readFileSync(shared(context, "text/tinystories_1000.json"), "utf8")) as string[];
    const measure = (options: LoadModelOptions) => perplexity(path, all.slice(0, STORIES), options);
    const exact = await measure({ activations: "f32", kv: "f32" });
    const eight = await measure({ quantize: "8bit-g32", activations: "int8" });
    const two = await measure({ quantize: "2bit-row", activations: "int8" });
    // The model's own loss on such texts is about 1.5; a wrong forward pass is far from it.
    expect(exact).toBeLessThan(4.6);
    expect(Math.abs(eight / exact - 1)).toBeLessThan(0.01);
    expect(two / exact).toBeGreaterThan(1.1);
  });
});
