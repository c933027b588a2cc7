import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, type TestContext, test } from "vitest";
import {
  type BackendKind,
  type GenerateOptions,
  type LoadModelOptions,
  loadModel,
} from "../../src/api/index.ts";
import { Model } from "../../src/api/model.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { ISAS } from "../../src/isa/index.ts";
import { NATIVE_TARGETS, need, TARGETS, type TestTarget } from "../backends.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { loadOn } from "./engines.ts";

const STORIES = "models/stories260K/stories260K.gguf";
const TALES = fileURLToPath(new URL("../../models/tales-5.8m-q4_0.gguf", import.meta.url));
/** What llama2.c's own test expects of the model at temperature 0. */
const KNOWN = `Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. \
She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she said, "I'm sorry, mom. I didn't know what to do." \
Her mom said, "Don't worry, Lily. We can help you.
`;
const EXACT = { activations: "f32", kv: "f32", contextLength: 256 } as const;

const open: { dispose(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of open.splice(0)) await each.dispose();
});

async function load(path: string, options: LoadModelOptions): Promise<Model> {
  const model = await loadModel(path, options);
  open.push(model);
  return model;
}

async function loadEngine(target: TestTarget, path: string) {
  const loaded = await loadOn(target, path, EXACT);
  open.push(loaded.engine);
  return loaded;
}

/** Through the library where it has the target, else (emulated instructions) built from its parts. */
async function loadTarget(target: TestTarget, path: string): Promise<Model> {
  if (ISAS.includes(target.isa)) {
    const backend = target.name.split(" ")[0] as BackendKind;
    return load(path, { ...EXACT, backend, isa: target.isa.name });
  }
  const { engine, tokenizer } = await loadEngine(target, path);
  return new Model(path, tokenizer, engine, undefined, {});
}

async function write(model: Model, prompt: string, options: GenerateOptions) {
  const pieces: string[] = [];
  const running = model.generate(prompt, { temperature: 0, ...options });
  for (;;) {
    const { done, value } = await running.next();
    if (done) return { text: pieces.join(""), pieces, ...value };
    pieces.push(value);
  }
}

/** Largest difference between logits of the same positions. */
function difference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(
    ...a.map((row, i) => Math.max(...row.map((x, id) => Math.abs(x - (b[i]?.[id] ?? Infinity))))),
  );
}

async function tokenByToken(engine: Engine, ids: readonly number[]): Promise<Float32Array[]> {
  const sequence = engine.open();
  const logits: Float32Array[] = [];
  for (const token of ids) logits.push(...(await engine.step([{ sequence, token, output: true }])));
  engine.close(sequence);
  return logits;
}

async function inOneStep(engine: Engine, ids: readonly number[]): Promise<Float32Array[]> {
  const sequence = engine.open();
  const logits = await engine.step(ids.map((token) => ({ sequence, token, output: true })));
  engine.close(sequence);
  return logits;
}

describe.each(TARGETS)("stories260K on $name", (target) => {
  test("writes the known story", async (context) => {
    await need(target, context);
    const model = await loadTarget(target, shared(context, STORIES));
    const { text, ...result } = await write(model, "", { maxTokens: 180 });
    expect(result).toMatchObject({ stopReason: "max-tokens", promptTokens: 1, generatedTokens: 180 });
    expect(text.trimStart()).toBe(KNOWN.slice(0, text.trimStart().length));
    expect(text.length).toBeGreaterThan(350);
  });

  test("a prompt in one step and token by token has the same logits", async (context) => {
    await need(target, context);
    const { engine, tokenizer } = await loadEngine(target, shared(context, STORIES));
    const ids = tokenizer.encode(KNOWN).slice(0, 50);
    const [prefill, decode] = [await inOneStep(engine, ids), await tokenByToken(engine, ids)];
    // Of logits of up to 22; both add in the same order unless the plan blocks inputs differently.
    expect(difference(prefill, decode)).toBeLessThan(1e-4);
  });
});

async function needNative(context: TestContext): Promise<void> {
  await need(NATIVE_TARGETS[0] as TestTarget, context);
}

describe("texts", () => {
  test("end where the context does", async (context) => {
    const model = await load(shared(context, STORIES), { ...EXACT, contextLength: 64, backend: "wasm" });
    const prompt = KNOWN.slice(0, 40);
    const { text, ...result } = await write(model, prompt, {});
    expect(result.stopReason).toBe("context");
    // The last token is not run through the model: it needs no place.
    expect(result.promptTokens + result.generatedTokens).toBe(64 + 1);
    expect(prompt + text).toBe(KNOWN.slice(0, 40 + text.length));
    // And again, from a context that is full.
    expect((await write(model, prompt, {})).text).toBe(text);
  });

  test.for([EXACT, {}])("reusing a common prefix changes nothing: %o", async (options, context) => {
    const path = shared(context, STORIES);
    const model = await load(path, { ...options, backend: "wasm" });
    const start = "Once upon a time, there was a little";
    const prompts = [`${start} dog`, `${start} bird who`, `${start} bird`, "The end.", start];
    const reused: number[] = [];
    for (const prompt of prompts) {
      const fresh = await load(path, { ...options, backend: "wasm" });
      const [one, other] = [
        await write(model, prompt, { maxTokens: 20 }),
        await write(fresh, prompt, { maxTokens: 20 }),
      ];
      expect(one.text).toBe(other.text);
      expect(other.reusedTokens).toBe(0);
      reused.push(one.reusedTokens);
    }
    expect(reused).toEqual([0, 10, 12, 1, 1]);
  });
});

test("the model that comes with the package writes the same on native and wasm", async (context) => {
  await needNative(context);
  // int8 activations turn a difference in the last bit into one of a code, and of up to 0.1 in a logit.
  const activations = "f32";
  const native = await load(TALES, { backend: "native", activations });
  const wasm = await load(TALES, { backend: "wasm", activations });
  const one = await write(native, "Once upon a time", { maxTokens: 40 });
  expect(one.generatedTokens).toBe(40);
  expect(await write(wasm, "Once upon a time", { maxTokens: 40 })).toMatchObject({
    text: one.text,
    pieces: one.pieces,
  });
});
