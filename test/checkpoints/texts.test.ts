import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { FileFormatError, QigenError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { CheckpointTexts } from "../../src/checkpoints/checkpoint-texts.ts";
import { CHAR_OF_BYTE } from "../../src/text/byte-alphabet.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { LLAMA } from "../text/sentencepiece-fixture.ts";
import { floats, json, memoryFolder, randomCheckpoint, saveCheckpoint } from "./random-checkpoint.ts";

const folder = temporaryFolder();
type Files = Readonly<Record<string, Uint8Array>>;

const { "tokenizer.json": _, ...mute } = randomCheckpoint(floats("F16"), { layers: 1 }).files;
const text = (value: string) => new TextEncoder().encode(value);
const read = (files: Files) => CheckpointTexts.read(memoryFolder({ files: { ...mute, ...files } }));
const tokenizerOf = async (files: Files) => (await read(files)).tokenizer();

const VOCAB = Object.fromEntries(
  ["<pad>", "</s>", ...CHAR_OF_BYTE, "ab", "Ġab"].map((token, id) => [token, id]),
);
const GPT2 = { "vocab.json": json(VOCAB), "merges.txt": text("#version: 0.2\na b\nĠ ab\n") };

describe("a folder without tokenizer.json", () => {
  test("has vocab.json and merges.txt, as OPT's has", async () => {
    const config = json({ bos_token: "</s>", eos_token: { content: "</s>" }, add_bos_token: true });
    const tokenizer = await tokenizerOf({ ...GPT2, "tokenizer_config.json": config });
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 1, addsBos: true });
    expect(tokenizer.encode("ab ab")).toEqual([1, 258, 259]);
    expect(tokenizer.decode(tokenizer.encode("a bird — 鳥", { addBos: false }))).toBe("a bird — 鳥");
  });

  test("has a SentencePiece model, and what is added to it", async () => {
    const tokenizer = await tokenizerOf({
      "tokenizer.model": LLAMA,
      "added_tokens.json": json({ "<|im_end|>": 10, "<tool>": 9 }),
      "special_tokens_map.json": json({
        bos_token: { content: "<s>" },
        eos_token: "<|im_end|>",
        additional_special_tokens: ["<x>", { content: "<y>" }],
      }),
    });
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 10, addsBos: true, vocabularySize: 11 });
    expect(tokenizer.encode("ab a")).toEqual([1, 7, 3, 4]);
    expect(tokenizer.encode("<tool>", { addBos: false })).toEqual([9]);
    expect(tokenizer.encode("<|im_end|>", { addBos: false, parseSpecial: true })).toEqual([10]);
    expect(tokenizer.encode("<|im_end|>", { addBos: false })).not.toContain(10);
  });

  test("is told by tokenizer_config.json where both say something", async () => {
    const tokenizer = await tokenizerOf({
      "tokenizer.model": LLAMA,
      "tokenizer_config.json": json({
        add_bos_token: false,
        eos_token: "</s>",
        added_tokens_decoder: { "9": { content: "<end>", special: true } },
      }),
      "added_tokens.json": json({ "<start>": 9 }),
      "special_tokens_map.json": json({ eos_token: "<end>" }),
    });
    expect(tokenizer).toMatchObject({ eosId: 2, addsBos: false });
    expect(tokenizer.encode("<end>", { parseSpecial: true })).toEqual([9]);
  });

  test("generates text", async () => {
    await using model = await loadModel(
      await saveCheckpoint(join(folder, "bytes"), { files: { ...mute, ...GPT2 } }),
      {
        backend: "wasm",
      },
    );
    let all = "";
    for await (const piece of model.generate("ab", { maxTokens: 4, temperature: 0 })) all += piece;
    expect(all).toBeTypeOf("string");
  });

  test.each<[string, Files, string]>([
    ["ids below 0", { "added_tokens.json": json({ a: -1 }) }, "added_tokens.json: a: is -1, not from 0"],
    ["ids in the billions", { "added_tokens.json": json({ a: 2e9 }) }, "added_tokens.json: a: is 2000000000"],
    ["no ids", { "added_tokens.json": json({ a: "b" }) }, "added_tokens.json: a: is not a whole number"],
    ["null", { "added_tokens.json": json({ a: null }) }, "added_tokens.json: a: has no id"],
    ["a list", { "added_tokens.json": json([1]) }, "added_tokens.json: the file: is not a JSON object"],
    [
      "no names of tokens",
      { "special_tokens_map.json": json({ additional_special_tokens: [1] }) },
      "special_tokens_map.json: additional_special_tokens: is not a JSON object",
    ],
    ["a number", { "special_tokens_map.json": json({ eos_token: 3 }) }, "eos_token: is not a string"],
    ["another model", { "tokenizer.model": text("hello") }, "tokenizer.model: "],
  ])("with %s is refused", async (_, files, message) => {
    const error = await tokenizerOf({ "tokenizer.model": LLAMA, ...files }).catch(
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(FileFormatError);
    expect(String(error)).toContain(message);
  });

  test("with random changes is read or refused", async () => {
    const rng = new Rng(6);
    const good: Files = {
      "tokenizer.model": LLAMA,
      "tokenizer_config.json": json({
        eos_token: "</s>",
        added_tokens_decoder: { "9": { content: "<end>" } },
      }),
      "added_tokens.json": json({ "<start>": 10, "<tool>": 11 }),
      "special_tokens_map.json": json({ bos_token: "<s>", additional_special_tokens: ["<tool>"] }),
    };
    for (let i = 0; i < 600; i++) {
      const names = Object.keys(good);
      const name = names[i % names.length] as string;
      const bytes = (good[name] as Uint8Array).slice();
      const characters = '0123456789-.eE"{}[],: truefalsn';
      for (let n = 1 + rng.integer(3); n > 0; n--) {
        bytes[rng.integer(bytes.length)] = characters.charCodeAt(rng.integer(characters.length));
      }
      try {
        (await tokenizerOf({ ...good, [name]: bytes })).encode("ab <tool> a");
      } catch (error) {
        expect(error).toBeInstanceOf(QigenError);
        expect(String(error)).toContain("folder");
      }
    }
  });
});
