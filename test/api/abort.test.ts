import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, type TestContext, test } from "vitest";
import {
  AbortedError,
  type BackendKind,
  type GenerateOptions,
  loadModel,
  type Model,
} from "../../src/api/index.ts";
import { randomLlama } from "../../src/models/random-llama.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";

const CONTEXT = 4096;
const VOCABULARY = 300;
/** From the signal to the error (ms). */
const SOON = 500;
const path = join(temporaryFolder(), "random.gguf");
const open: Model[] = [];

/** 20 million weights: on two threads a prompt that fills the context takes a second at least. */
beforeAll(async () => {
  const shape = { layers: 6, hiddenSize: 512, intermediateSize: 1536, heads: 8, kvHeads: 4 };
  const options = { ...shape, vocabularySize: VOCABULARY, contextLength: CONTEXT };
  await saveGguf(path, randomLlama({ ...options, format: "Q4_0", weights: "codes" }));
});

afterEach(async () => {
  for (const model of open.splice(0)) await model.dispose();
});

async function load(backend: BackendKind, context: TestContext): Promise<Model> {
  if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
  const model = await loadModel(path, { backend, threads: 2 });
  open.push(model);
  return model;
}

const LONG = Array.from({ length: CONTEXT - 8 }, (_, i) => 3 + ((i * 31) % (VOCABULARY - 3)));
const SHORT = LONG.slice(0, 20);
const GREEDY: GenerateOptions = { temperature: 0, maxTokens: 4 };

async function write(
  model: Model,
  prompt: readonly number[],
  options: GenerateOptions = {},
): Promise<string> {
  let text = "";
  for await (const piece of model.generate(prompt, { ...GREEDY, ...options })) text += piece;
  return text;
}

/** A signal that fires after so many milliseconds, and when it did. */
function signalAfter(ms: number): { readonly signal: AbortSignal; firedAt(): number } {
  const controller = new AbortController();
  let at = Number.NaN;
  setTimeout(() => {
    at = performance.now();
    controller.abort();
  }, ms);
  return { signal: controller.signal, firedAt: () => at };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(["native", "wasm"] as const)("%s", (backend) => {
  test("a signal stops a call before and during the prompt; the model goes on", async (context) => {
    const model = await load(backend, context);
    const expected = await write(model, SHORT);
    await expect(write(model, LONG, { signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
    expect(await write(model, SHORT)).toBe(expected);
    for (const wait of [1, 50, 200]) {
      const { signal, firedAt } = signalAfter(wait);
      await expect(write(model, LONG, { signal })).rejects.toThrow(AbortedError);
      expect(performance.now() - firedAt()).toBeLessThan(SOON);
      expect(await write(model, SHORT)).toBe(expected);
    }
  });

  test("and between tokens", async (context) => {
    const model = await load(backend, context);
    const expected = await write(model, SHORT);
    const { signal, firedAt } = signalAfter(200);
    const endless = async () => {
      for (;;) await write(model, SHORT, { maxTokens: CONTEXT, signal });
    };
    await expect(endless()).rejects.toThrow(AbortedError);
    expect(performance.now() - firedAt()).toBeLessThan(SOON);
    expect(await write(model, SHORT)).toBe(expected);
  });

  test("and an evaluation", async (context) => {
    const model = await load(backend, context);
    const expected = await model.evaluate(SHORT);
    const { signal, firedAt } = signalAfter(50);
    await expect(model.evaluate(LONG, { signal })).rejects.toThrow(AbortedError);
    expect(performance.now() - firedAt()).toBeLessThan(SOON);
    expect(await model.evaluate(SHORT)).toEqual(expected);
  });

  test("dispose stops a prompt", async (context) => {
    const model = await load(backend, context);
    const call = write(model, LONG);
    const stopped = expect(call).rejects.toThrow(AbortedError);
    await sleep(50);
    const at = performance.now();
    await model.dispose();
    await stopped;
    expect(performance.now() - at).toBeLessThan(SOON);
  });

  test("the event loop stays free", async (context) => {
    const model = await load(backend, context);
    const controller = new AbortController();
    const call = write(model, LONG, { signal: controller.signal }).catch(() => undefined);
    let ticks = 0;
    const timer = setInterval(() => {
      ticks++;
    }, 5);
    const start = performance.now();
    await Promise.race([call, sleep(1000)]);
    const elapsed = performance.now() - start;
    clearInterval(timer);
    controller.abort();
    await call;
    // A call that blocked for whole steps would leave a handful of ticks.
    expect(ticks).toBeGreaterThan(elapsed / 40);
  });
});
