import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  AbortedError,
  type BackendKind,
  loadModel,
  type Model,
  parseTask,
  UsageError,
} from "../../src/api/index.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const path = join(temporaryFolder(), "tiny.gguf");
const open: Model[] = [];

beforeAll(async () => {
  await saveGguf(path, tinyLlama());
});

afterEach(async () => {
  for (const model of open.splice(0)) await model.dispose();
});

async function load(backend: BackendKind = "wasm"): Promise<Model> {
  const model = await loadModel(path, { backend, threads: 1 });
  open.push(model);
  return model;
}

/** The whole text. */
async function write(model: Model, maxTokens = 5): Promise<string> {
  let text = "";
  for await (const piece of model.generate("bada", { maxTokens, temperature: 0 })) text += piece;
  return text;
}

const TASK = parseTask("task", '{"text":"bada gigi"}');

/** Calls that need the model, each up to its first result. */
const CALLS: readonly (readonly [string, (model: Model) => Promise<unknown>])[] = [
  ["generate", (model) => model.generate("bada").next()],
  ["chat", (model) => model.chat([{ role: "user", content: "bada" }]).next()],
  ["evaluate", (model) => model.evaluate([1, 5])],
  ["perplexity", (model) => model.perplexity("bada ".repeat(60))],
  ["runTask", (model) => model.runTask(TASK)],
  ["evaluate", (model) => model.evaluate([1, 5], { stream: true })[Symbol.asyncIterator]().next()],
];

describe("one call at a time", () => {
  test.each(CALLS)("%s beside a text that is being written is a UsageError", async (name, call) => {
    const model = await load();
    const expected = await write(model);
    const running = model.generate("bada", { maxTokens: 5, temperature: 0 });
    const first = await running.next();
    const refused = call(model);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(`${name}: the model is busy`);
    // The text that was first goes on undisturbed.
    let text = first.value as string;
    for await (const piece of running) text += piece;
    expect(text).toBe(expected);
    expect(await write(model)).toBe(expected);
  });

  test("of two that start together the second is refused", async () => {
    const model = await load();
    const both = [model.generate("bada", { maxTokens: 2 }), model.generate("bada", { maxTokens: 2 })];
    const results = await Promise.allSettled(both.map((each) => each.next()));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });

  test("a call that is never begun, or ended before it begins, does not count", async () => {
    const model = await load();
    model.generate("bada");
    model.evaluate([1], { stream: true });
    await model.generate("bada").return(undefined as never);
    expect(await write(model)).not.toBe("");
  });

  test("leaving the loop early frees the model", async () => {
    const model = await load();
    const expected = await write(model);
    for await (const _ of model.generate("bada")) break;
    expect(await write(model)).toBe(expected);
    for await (const { position } of model.evaluate([1, 5, 6], { stream: true })) if (position === 0) break;
    expect(await write(model)).toBe(expected);
    const failing = async () => {
      for await (const _ of model.generate("bada")) throw new Error("the caller's own");
    };
    await expect(failing()).rejects.toThrow("the caller's own");
    expect(await write(model)).toBe(expected);
  });
});

describe.each(["wasm", "native"] as const)("two models on %s", (backend) => {
  test("write at the same time, and one goes on when the other is gone", async (context) => {
    if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
    const [one, other] = [await load(backend), await load(backend)];
    const expected = await write(one, 20);
    expect(await Promise.all([write(one, 20), write(other, 20)])).toEqual([expected, expected]);
    await one.dispose();
    expect(await write(other, 20)).toBe(expected);
  });
});

describe("dispose", () => {
  test.each(CALLS)("%s is a UsageError afterwards", async (name, call) => {
    const model = await load();
    await model.dispose();
    await expect(call(model)).rejects.toThrow(`${name}: the model is disposed`);
    await expect(call(model)).rejects.toThrow(UsageError);
  });

  test("may be called again, and at the same time", async () => {
    const model = await load();
    await Promise.all([model.dispose(), model.dispose()]);
    await model.dispose();
    expect(model.contextLength).toBe(96);
  });

  test("happens at the end of a block", async () => {
    let kept: Model;
    {
      await using model = await load();
      kept = model;
      expect(await write(model)).not.toBe("");
    }
    await expect(write(kept)).rejects.toThrow(UsageError);
  });

  describe.each(["wasm", "native", "interpreter"] as const)("%s", (backend) => {
    test("stops a text between two pieces", async (context) => {
      if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
      const model = await load(backend);
      const running = model.generate("bada");
      await running.next();
      await model.dispose();
      await expect(running.next()).rejects.toThrow(AbortedError);
      expect(await running.next()).toEqual({ value: undefined, done: true });
    });

    test("stops a step, unless that is done already", async (context) => {
      if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
      const model = await load(backend);
      const running = model.evaluate(Array<number>(96).fill(7)).then(
        (all) => all.length,
        (error: unknown) => error,
      );
      await new Promise((resolve) => setImmediate(resolve));
      await model.dispose();
      const outcome = await running;
      if (outcome !== 96) expect(outcome).toBeInstanceOf(AbortedError);
    });
  });
});
