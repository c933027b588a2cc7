import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  AbortedError,
  type ChoiceItem,
  type Continuation,
  loadModel,
  type Model,
  parseTask,
  type Task,
} from "../../src/api/index.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { logOf, logSoftmax, mean, scoredOf, standardError } from "./oracle.ts";

const path = join(temporaryFolder(), "tiny.gguf");
let model: Model;

beforeAll(async () => {
  await saveGguf(path, tinyLlama());
  model = await loadModel(path, { backend: "wasm", threads: 1 });
});

afterAll(async () => {
  await model.dispose();
});

const CONTEXTS = ["bada gigi", "lo nu bada lo", "gigi gigi nu ", "nu", ""];
const ENDINGS = [" bada", " gigi lo nu.", " zzz", " lo"];

const ITEMS: readonly ChoiceItem[] = CONTEXTS.map((context, i) => ({
  choices: ENDINGS.slice(0, 2 + (i % 3)).map((ending) => ({ context, ending })),
  right: i % 2,
}));
const CHOICES: Task = { file: "t", layout: "choices", kind: "choice", items: ITEMS, endingsDiffer: true };

/** Log-likelihood of an ending and whether it is the greedy one, from full logits of the text alone. */
async function oracle({ context, ending }: Continuation) {
  const ids = model.tokenizer.encode(context + ending);
  const from = model.tokenizer.encode(context.trimEnd()).length;
  const scored = await scoredOf(model, [{ ids, wanted: (i) => i >= from }]);
  expect(scored.length).toBe(ids.length - from);
  return {
    log: scored.reduce((sum, one) => sum + logOf(one), 0),
    greedy: scored.every(({ logs, token }) => logs[token] === Math.max(...logs)),
  };
}

describe("tasks against f64 from full logits", () => {
  test("choices", async () => {
    const [right, rightPerByte]: [number[], number[]] = [[], []];
    for (const { choices, right: answer } of ITEMS) {
      const logs: number[] = [];
      for (const choice of choices) logs.push((await oracle(choice)).log);
      const perByte = logs.map((log, i) => log / (choices[i]?.ending.trim().length ?? 0));
      right.push(logs.indexOf(Math.max(...logs)) === answer ? 1 : 0);
      rightPerByte.push(perByte.indexOf(Math.max(...perByte)) === answer ? 1 : 0);
    }
    const found = await model.runTask(CHOICES);
    expect(found).toMatchObject({ kind: "choice", layout: "choices", items: ITEMS.length, truncated: 0 });
    expect(found.accuracy.value).toBeCloseTo(mean(right), 12);
    expect(found.accuracy.error).toBeCloseTo(standardError(right), 12);
    expect(found.accuracyNormalized?.value).toBeCloseTo(mean(rightPerByte), 12);
    expect(found.chance).toBeCloseTo(mean(ITEMS.map(({ choices }) => 1 / choices.length)), 12);
    expect(found).not.toHaveProperty("perplexity");
  });

  test("a cloze", async () => {
    const items = CONTEXTS.slice(0, 4).map((context, i) => ({ context, ending: ENDINGS[i] as string }));
    const expected = [];
    for (const item of items) expected.push(await oracle(item));
    const found = await model.runTask({ file: "t", layout: "LAMBADA", kind: "cloze", items });
    const surprise = expected.map(({ log }) => -log);
    expect(found.accuracy.value).toBe(mean(expected.map(({ greedy }) => (greedy ? 1 : 0))));
    const perplexity = found.perplexity ?? expect.fail("no perplexity");
    expect(perplexity.value / Math.exp(mean(surprise))).toBeCloseTo(1, 5);
    expect(perplexity.error / perplexity.value).toBeCloseTo(standardError(surprise), 4);
  });

  test("the greedy ending counts", async () => {
    let ending = "";
    for await (const piece of model.generate("bada gigi", { maxTokens: 1, temperature: 0 })) ending += piece;
    const item = { context: "bada gigi", ending };
    const { accuracy } = await model.runTask({ file: "t", layout: "LAMBADA", kind: "cloze", items: [item] });
    expect(accuracy).toEqual({ value: (await oracle(item)).greedy ? 1 : 0, error: 0 });
  });
});

test("what choices share is run once", async () => {
  const context = "bada gigi ".repeat(3).trim();
  const choices = ENDINGS.map((ending) => ({ context, ending }));
  const lengthOf = (text: string) => model.tokenizer.encode(text).length;
  const shared = lengthOf(context) - 1;
  // The last token is only predicted; the last one of the context is run again, for another next token.
  const own = choices.reduce((sum, { ending }) => sum + lengthOf(context + ending) - 1 - shared, 0);
  // Nothing of the text before is of use.
  await model.runTask(cloze({ context: "zz", ending: " zz" }));
  const { tokens } = await model.runTask({ ...CHOICES, items: [{ choices, right: 0 }] } as Task);
  expect(Math.abs(tokens - (shared + own))).toBeLessThan(choices.length);
});

const cloze = (item: Continuation): Task => ({ file: "t", layout: "LAMBADA", kind: "cloze", items: [item] });

test("a text longer than the context loses its start", async () => {
  const context = "bada gigi ".repeat(60).trim();
  const { truncated, perplexity } = await model.runTask(cloze({ context, ending: " lo" }));
  expect(truncated).toBe(1);
  const ids = model.tokenizer.encode(`${context} lo`);
  const ending = ids.length - model.tokenizer.encode(context).length;
  const kept = ids.slice(-(model.contextLength + 1), -1);
  const rows = (await model.evaluate(kept)).slice(-ending);
  const logs = rows.map((logits, i) => logSoftmax(logits)[ids.at(i - ending) as number] as number);
  const log = logs.reduce((sum, one) => sum + one, 0);
  expect((perplexity?.value ?? 0) / Math.exp(-log)).toBeCloseTo(1, 5);
});

test("an aborted one stops, and the model goes on", async () => {
  const stop = new AbortController();
  const running = model.runTask(CHOICES, { onProgress: () => stop.abort(), signal: stop.signal });
  await expect(running).rejects.toThrow(AbortedError);
  const task = parseTask("t", JSON.stringify({ text: "bada gigi lo" }));
  expect((await model.runTask(task)).items).toBe(1);
});
