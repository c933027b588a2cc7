import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type GenerateOptions,
  type GenerationResult,
  loadModel,
  type Model,
  UsageError,
} from "../../src/api/index.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { CHAT_TEMPLATE, saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const CONTEXT = 96;
const VOCABULARY = 300;
const folder = temporaryFolder();
let model: Model;

async function load(name: string, metadata: Readonly<Record<string, GgufValue>> = {}): Promise<Model> {
  return loadModel(await saveGguf(join(folder, name), tinyLlama(metadata)), { backend: "wasm" });
}

beforeAll(async () => {
  model = await load("tiny.gguf");
});
afterAll(() => model.dispose());

interface Written extends GenerationResult {
  readonly pieces: readonly string[];
  readonly text: string;
}

async function collect(running: AsyncGenerator<string, GenerationResult, undefined>): Promise<Written> {
  const pieces: string[] = [];
  for (;;) {
    const { done, value } = await running.next();
    if (done) return { ...value, pieces, text: pieces.join("") };
    pieces.push(value);
  }
}

function write(prompt: string | readonly number[], options: GenerateOptions = {}): Promise<Written> {
  return collect(model.generate(prompt, { temperature: 0, ...options }));
}

/** Options and prompts as a caller in plain JavaScript may pass them. */
function loose(prompt: unknown, options: Readonly<Record<string, unknown>> = {}): Promise<Written> {
  return write(prompt as string, options as GenerateOptions);
}

const ids = (length: number) => Array.from({ length }, (_, i) => 3 + ((i * 7) % (VOCABULARY - 3)));

describe("prompts", () => {
  test("as long as the context, and longer", async () => {
    expect(await write(ids(CONTEXT))).toMatchObject({ stopReason: "context", generatedTokens: 1 });
    const message = `the prompt has ${CONTEXT + 1} tokens, the context holds ${CONTEXT}`;
    await expect(write(ids(CONTEXT + 1))).rejects.toThrow(UsageError);
    await expect(write(ids(CONTEXT + 1))).rejects.toThrow(message);
    await expect(write("bada ".repeat(CONTEXT))).rejects.toThrow(UsageError);
  });

  test("text and its tokens are the same prompt", async () => {
    const [text, tokens] = [await write("bada"), await write(model.tokenizer.encode("bada"))];
    expect(tokens.text).toBe(text.text);
    expect(tokens.promptTokens).toBe(text.promptTokens);
  });

  test("no tokens at all", async () => {
    await expect(write([])).rejects.toThrow(UsageError);
    // The start token.
    expect((await write("", { maxTokens: 1 })).promptTokens).toBe(1);
  });

  test.each([
    [[-1], "token 0 is -1"],
    [[1, VOCABULARY], `token 1 is ${VOCABULARY}; ids are whole numbers from 0 to ${VOCABULARY - 1}`],
    [[1, 2 ** 31], "token 1 is 2147483648"],
    [[1, 1.5], "token 1 is 1.5"],
    [[Number.NaN], "token 0 is NaN"],
    [["7"], "token 0 is 7"],
    [new Array(3), "token 0 is undefined"],
    [[7n], "token 0 is 7"],
  ])("tokens that are none: %o", async (tokens, message) => {
    await expect(loose(tokens)).rejects.toThrow(UsageError);
    await expect(loose(tokens)).rejects.toThrow(message);
    await expect(model.evaluate(tokens as number[])).rejects.toThrow(message);
  });

  test.each([undefined, null, 7, {}])("neither text nor tokens: %o", async (prompt) => {
    await expect(loose(prompt)).rejects.toThrow(UsageError);
  });
});

describe("options", () => {
  test("maxTokens 0 runs the prompt and writes nothing", async () => {
    expect(await write("bada", { maxTokens: 0 })).toMatchObject({
      stopReason: "max-tokens",
      generatedTokens: 0,
      pieces: [],
    });
  });

  test.each([
    { maxTokens: -1 },
    { maxTokens: Number.NaN },
    { maxTokens: "many" },
    { temperature: -1 },
    { temperature: "hot" },
    { topK: 1.5 },
    { topP: 2 },
    { minP: Number.NaN },
    { repeatPenalty: 0 },
    { seed: -1 },
    { stop: [""] },
    { stop: [7] },
    { stop: "bada" },
  ])("out of range: %o", async (options) => {
    await expect(loose("bada", options)).rejects.toThrow(UsageError);
    await expect(loose("bada", options)).rejects.toThrow(Object.keys(options)[0]);
  });

  test("the same seed writes the same text, another one another", async () => {
    const options = { temperature: 1.5, topK: 0, topP: 1, minP: 0, maxTokens: 20 };
    const one = await write("bada", { ...options, seed: 7 });
    expect((await write("bada", { ...options, seed: 7 })).text).toBe(one.text);
    expect((await write("bada", { ...options, seed: 8 })).text).not.toBe(one.text);
    const random = await write("bada", options);
    expect((await write("bada", { ...options, seed: random.seed })).text).toBe(random.text);
  });

  test("the text ends before a stop string, wherever pieces end", async () => {
    const { text, pieces } = await write("bada", { maxTokens: 20 });
    expect(pieces.length).toBeGreaterThan(5);
    const end = text.search(/\ufffd*$/); // of the last whole character
    for (const [start, length] of [
      [0, 1],
      [3, 2],
      [7, 9],
      [end - 6, 6],
    ] as const) {
      const stop = text.slice(start, start + length);
      const stopped = await write("bada", { maxTokens: 20, stop: ["never there", stop] });
      expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
      expect(stopped.stopReason).toBe("stop");
    }
    const whole = await write("bada", { maxTokens: 20, stop: [`${text.slice(-3)}more`] });
    expect(whole).toMatchObject({ text, stopReason: "max-tokens" });
  });
});

test("a stop string that ends with an incomplete character stops the text that this ends", async () => {
  let stopped = 0;
  for (let maxTokens = 1; maxTokens <= 20; maxTokens++) {
    const { text, pieces } = await write("bada", { maxTokens });
    // The end of the text alone tells that no more bytes of the character come.
    if (pieces.at(-1) !== "\ufffd" || pieces.length < 2) continue;
    const stop = text.slice(-2);
    const result = await write("bada", { maxTokens, stop: [stop] });
    expect(result).toMatchObject({ stopReason: "stop", text: text.slice(0, text.indexOf(stop)) });
    stopped++;
  }
  expect(stopped).toBeGreaterThan(0);
});

describe("results", () => {
  test("the model's own end token ends the text", async () => {
    const [logits] = (await model.evaluate(model.tokenizer.encode("bada"))).slice(-1) as [Float32Array];
    const likeliest = logits.indexOf(Math.max(...logits));
    const end: GgufValue = { type: "u32", value: likeliest };
    await using ending = await load("ending.gguf", { "tokenizer.ggml.eos_token_id": end });
    const result = await collect(ending.generate("bada", { temperature: 0 }));
    expect(result).toMatchObject({ stopReason: "end", generatedTokens: 0, text: "" });
  });

  test("count tokens and time", async () => {
    await write([1, VOCABULARY - 1]);
    const first = await write("bada", { maxTokens: 3 });
    const promptTokens = model.tokenizer.encode("bada").length;
    expect(first).toMatchObject({
      promptTokens,
      reusedTokens: 1,
      generatedTokens: 3,
      stopReason: "max-tokens",
    });
    expect(first.prefillSeconds).toBeGreaterThan(0);
    expect(first.decodeSeconds).toBeGreaterThan(0);
    // The last token of a prompt always runs: its logits are wanted.
    expect((await write("bada", { maxTokens: 3 })).reusedTokens).toBe(promptTokens - 1);
  });
});

describe("evaluate", () => {
  test("streams the same logits that it returns", async () => {
    const tokens = ids(CONTEXT);
    const all = await model.evaluate(tokens);
    expect(all.map(({ length }) => length)).toEqual(tokens.map(() => VOCABULARY));
    let next = 0;
    for await (const { position, logits } of model.evaluate(tokens, { stream: true })) {
      expect(position).toBe(next);
      expect(logits).toEqual(all[next++]);
    }
    expect(next).toBe(CONTEXT);
  });

  test("agrees with generate", async () => {
    const tokens = model.tokenizer.encode("bada");
    const { text } = await write(tokens, { maxTokens: 1 });
    const [logits] = (await model.evaluate(tokens)).slice(-1) as [Float32Array];
    const likeliest = logits.indexOf(Math.max(...logits));
    expect(text).toBe(new TextDecoder().decode(model.tokenizer.tokenBytes(likeliest)));
  });

  test("no tokens, and too many", async () => {
    expect(await model.evaluate([])).toEqual([]);
    await expect(model.evaluate(ids(CONTEXT + 1))).rejects.toThrow(UsageError);
  });
});

describe("chat", () => {
  const messages = [{ role: "user", content: "bada" }];

  test("without a template is a UsageError", async () => {
    expect(model.hasChatTemplate).toBe(false);
    await expect(model.chat(messages).next()).rejects.toThrow(UsageError);
    expect((await write("bada", { maxTokens: 2 })).generatedTokens).toBe(2);
  });

  test("continues what the template writes", async () => {
    await using chatty = await load("chatty.gguf", { "tokenizer.chat_template": CHAT_TEMPLATE });
    expect(chatty.hasChatTemplate).toBe(true);
    const options = { temperature: 0, maxTokens: 8 };
    const answer = await collect(chatty.chat(messages, options));
    const same = await collect(chatty.generate("<user>bada;<assistant>", options));
    expect(answer.text).toBe(same.text);
    expect(answer.promptTokens).toBe(same.promptTokens);
  });
});
