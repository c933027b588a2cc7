import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Interrupts } from "../../src/cli/io.ts";
import { estimateText } from "../../src/cli/perplexity-text.ts";
import { cli, saveGguf, temporaryFolder, tinyLlama } from "./harness.ts";

const folder = temporaryFolder();
const model = join(folder, "tiny.gguf");
const text = join(folder, "text.txt");
const task = join(folder, "task.jsonl");
const WASM = ["--backend", "wasm"];

beforeAll(async () => {
  await saveGguf(model, tinyLlama());
  writeFileSync(text, `\ufeff${"bada gigi lo nu ".repeat(30)}`);
  writeFileSync(task, '{"text":"bada gigi lo"}\n{"text":"lo nu bada"}\n');
});

const count = z.int().min(0);
const positive = z.number().positive();
const estimate = z.strictObject({ value: z.number(), error: z.number().min(0) });

async function json<T>(args: readonly string[], schema: z.ZodType<T>): Promise<T> {
  const { code, stdout, stderr } = await cli([...args, "--json"]);
  expect(stderr.replace(/^running on .*\n/gm, "")).toBe("");
  expect(code).toBe(0);
  return schema.parse(JSON.parse(stdout));
}

describe("perplexity", () => {
  const ran = { model: z.literal(model), activations: z.enum(["int8", "f32"]), kv: z.string() };
  const distribution = Object.fromEntries(
    ["min", "percentile1", "percentile5", "median", "percentile95", "percentile99", "max"].map((name) => [
      name,
      z.number(),
    ]),
  );
  const schema = z.strictObject({
    ...ran,
    text: z.literal(text),
    backend: z.literal("wasm"),
    isa: z.string(),
    threads: z.literal(1),
    protocol: z.strictObject({ name: z.string(), context: count, stride: count, bos: z.string() }),
    windows: count,
    tokens: count,
    scored: count,
    perplexity: estimate,
    seconds: positive,
    tokensPerSecond: positive,
  });
  const compared = schema.extend({
    base: z.strictObject(ran),
    comparison: z.strictObject({
      perplexity: estimate,
      ratio: estimate,
      divergence: estimate.extend(distribution),
      sameTop: estimate,
      probability: estimate.extend({ ...distribution, rootMeanSquare: z.number() }),
    }),
  });
  const args = ["perplexity", model, "--text", text, "--context", "48", ...WASM];

  test("--json, and the same for people", async () => {
    const found = await json(args, schema);
    expect(found).toMatchObject({ activations: "int8", kv: "f16", protocol: { context: 48, bos: "window" } });
    const plain = await cli(args);
    expect(plain.code).toBe(0);
    expect(plain.stdout).toContain("llama.cpp: windows of 48 tokens, second half of each scored");
    expect(plain.stdout).toContain(`perplexity  ${estimateText(found.perplexity)}\n`);
    expect(plain.stdout).toMatch(/speed +\S+ tokens\/s/);
  });

  test("with a base, which is exact unless it is told otherwise", async () => {
    const found = await json([...args, "--base", model], compared);
    expect(found.base).toEqual({ model, activations: "f32", kv: "f32" });
    expect(found.comparison.divergence.value).toBeGreaterThan(0);
    const same = [...args, "--base", model, "--base-activations", "int8", "--base-kv", "f16"];
    expect((await json(same, compared)).comparison.ratio).toEqual({ value: 1, error: 0 });
    const plain = await cli(same);
    expect(plain.stdout).toMatch(/ratio +1\.0000/);
    expect(plain.stdout).toMatch(/same top token +100\.0000 %/);
    expect(plain.stdout).toMatch(/KL, nats/);
  });

  test("the papers' protocol, with a context beyond the trained one", async () => {
    const options = ["--protocol", "gptq", "--context", "128", "--stride", "64", "--chunks", "2"];
    const { stdout, stderr } = await cli(["perplexity", model, "-t", text, ...options, ...WASM]);
    expect(stderr).toContain("the model was trained on 96 tokens, windows have 128\n");
    expect(stdout).toContain(
      "gptq: windows of 128 tokens every 64 tokens, what is new in each scored, start token before the text",
    );
    expect(stdout).toMatch(/tokens +256 in 2 windows, \d+ scored/);
  });

  test("an interrupted one says what it has, as what it is", async () => {
    const interrupts = new Interrupts();
    setTimeout(() => interrupts.fire(), 1500);
    const long = join(folder, "long.txt");
    writeFileSync(long, "bada gigi lo nu ".repeat(200_000));
    const { code, stdout, stderr } = await cli(["perplexity", model, "-t", long, ...WASM], { interrupts });
    expect(code).toBe(130);
    expect(stdout).toBe("");
    if (stderr.includes("stopped"))
      expect(stderr).toMatch(/stopped: \S+ of \S+ windows only, which have a perplexity of /);
  });

  test.for([
    ["a missing text", join(folder, "absent"), 1, /absent: no such file/],
    ["a folder", folder, 1, /is a folder/],
    ["a short text", task, 2, /needs at least 96/],
  ] as const)("%s", async ([, file, expected, message]) => {
    const { code, stderr } = await cli(["perplexity", model, "-t", file, "-c", "48", ...WASM]);
    expect(code).toBe(expected);
    expect(stderr.replace(/^running on .*\n/gm, "")).toMatch(/^qigen: .*\n$/);
    expect(stderr).toMatch(message);
  });

  test("a text that is not UTF-8", async () => {
    const bytes = join(folder, "bytes.txt");
    writeFileSync(bytes, Uint8Array.of(0x61, 0xff, 0x62));
    const { code, stderr } = await cli(["perplexity", model, "-t", bytes, ...WASM]);
    expect([code, stderr]).toEqual([1, `qigen: ${bytes}: is not text in UTF-8\n`]);
  });
});

describe("eval", () => {
  const schema = z.strictObject({
    model: z.literal(model),
    activations: z.literal("int8"),
    kv: z.literal("f16"),
    task: z.literal(task),
    backend: z.literal("wasm"),
    isa: z.string(),
    threads: z.literal(1),
    kind: z.literal("cloze"),
    layout: z.literal("LAMBADA"),
    items: z.literal(2),
    accuracy: estimate,
    perplexity: estimate,
    truncated: count,
    tokens: count,
    seconds: positive,
    tokensPerSecond: positive,
  });
  const args = ["eval", model, "--task", task, ...WASM];

  test("--json, and the same for people", async () => {
    const { perplexity } = await json(args, schema);
    const { code, stdout } = await cli(args);
    expect(code).toBe(0);
    expect(stdout).toContain(`${task}, in the fields of LAMBADA: the last word`);
    expect(stdout).toContain(`perplexity  ${estimateText(perplexity)}, of the last word\n`);
    expect((await cli([...args, "--limit", "1"])).stdout).toMatch(/items +1\n/);
  });

  test("choices", async () => {
    const file = join(folder, "choices.jsonl");
    writeFileSync(file, '{"context":"bada","choices":["lo","nu gigi","zz"],"label":1}\n');
    const { stdout } = await cli(["eval", model, "--task", file, ...WASM]);
    expect(stdout).toMatch(/acc +\S+ %\nacc_norm +\S+ %, per byte of the ending\nchance +33\.33 %\n$/);
  });

  test("a damaged task", async () => {
    const file = join(folder, "damaged.jsonl");
    writeFileSync(file, '{"text":"bada gigi lo"}\n{"text":7}\n');
    const { code, stdout, stderr } = await cli(["eval", model, "--task", file, ...WASM]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^qigen: .*damaged\.jsonl: line 2: is not an item of LAMBADA: text: .*\n$/);
  });
});
