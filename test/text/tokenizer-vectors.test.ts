import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { describe, expect, test } from "vitest";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufMetadata } from "../../src/files/gguf-metadata.ts";
import { memorySource } from "../../src/files/source.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { readMerges, readScores, readVocabulary } from "../../src/text/gguf-vocabulary.ts";
import { tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import { scoredMerges } from "../../src/text/spm.ts";
import { sharedPath } from "../files/gguf-fixtures.ts";
import { sharedMetadata, sharedText, sharedTokenizer } from "./fixtures.ts";

const VECTORS = "fixtures/gguf-vocab";

/** Vocabularies with vectors: those in `shared`, and in a folder that the environment names. */
function vocabularies(): string[] {
  const known = ["llama-spm", "gpt-2"].map((name) => sharedPath(`${VECTORS}/ggml-vocab-${name}.gguf`));
  const folders = [sharedPath(VECTORS), process.env.QIGEN_TEST_VOCABULARIES].filter(
    (folder) => folder !== undefined,
  );
  const found = folders.filter(existsSync).flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".gguf.inp"))
      .map((name) => join(folder, name.slice(0, -".inp".length))),
  );
  return [...new Set([...known, ...found])];
}

test.for(vocabularies().map((path) => ({ name: basename(path), path })))(
  "llama.cpp's vectors for $name",
  async ({ path }, context) => {
    context.skip(!existsSync(path), `${path} is not there`);
    const { metadata } = await readGguf(memorySource(path, await readFile(path)));
    const tokenizer = tokenizerFromGguf(metadata);
    const texts = (await readFile(`${path}.inp`, "utf8")).split("\n__ggml_vocab_test__\n");
    const lines = (await readFile(`${path}.out`, "utf8")).split("\n");
    expect(texts.length).toBeGreaterThan(40);
    const lossless = metadata.string("tokenizer.ggml.model") !== "bert";
    for (const [i, text] of texts.entries()) {
      const ids = tokenizer.encode(text, { addBos: false });
      expect(ids.join(" "), JSON.stringify(text)).toBe(lines[i]?.trim());
      if (lossless) expect(tokenizer.decode(ids)).toBe(text);
    }
  },
);

describe.each(["llama-spm", "gpt-2"])("%s", (name) => {
  const path = `${VECTORS}/ggml-vocab-${name}.gguf`;

  test("a long text: as the library gives it in one go", async (context) => {
    const metadata = await sharedMetadata(context, path);
    const tokenizer = tokenizerFromGguf(metadata);
    const text = (await sharedText(context, "text/wiki.test.raw")).slice(0, 60_000);
    const ids = tokenizer.encode(text, { addBos: false });
    const library = new LibraryTokenizer(equivalentJson(metadata), {}) as {
      encode(text: string): { readonly ids: number[] };
    };
    expect(ids).toEqual(library.encode(text).ids);
    expect(tokenizer.decode(ids)).toBe(text);
    expect(await tokenizer.encodeLong(text, { addBos: false })).toEqual(ids);
  });
});

/** The same tokenizer as a `tokenizer.json`. */
function equivalentJson(metadata: GgufMetadata): object {
  const { texts, kinds } = readVocabulary(metadata, "spaces");
  const scored = metadata.string("tokenizer.ggml.model") === "llama";
  const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const normalizers = [{ type: "Prepend", prepend: "▁" }, replace];
  const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  return {
    normalizer: scored ? { type: "Sequence", normalizers } : null,
    pre_tokenizer: scored ? null : bytes,
    post_processor: null,
    decoder: null,
    added_tokens: [],
    model: {
      type: "BPE",
      vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
      merges: scored
        ? scoredMerges(texts, kinds, readScores(metadata, texts.length))?.merges
        : readMerges(metadata),
      byte_fallback: scored,
      unk_token: scored ? "<unk>" : null,
    },
  };
}

test("stories260K: Llama's conventions with defaults", async (context) => {
  const tokenizer = await sharedTokenizer(context, "models/stories260K/stories260K.gguf");
  expect(tokenizer).toMatchObject({ vocabularySize: 512, bosId: 1, eosId: 2, addsBos: true });
  expect([...tokenizer.eosIds]).toEqual([2]);
  // llama2.c prints these for the same prompt.
  expect(tokenizer.encode("Once upon a time")).toEqual([1, 403, 407, 261, 378]);
  const text = (await sharedText(context, "text/tinystories_1000.json")).slice(0, 100_000);
  expect(tokenizer.decode(tokenizer.encode(text), { skipSpecial: true })).toBe(text);
});

test("tales: the GGUF, the Hugging Face folder and the library agree", async (context) => {
  const folder = "models/tales/hf";
  const json: unknown = JSON.parse(await sharedText(context, `${folder}/tokenizer.json`));
  const config: unknown = JSON.parse(await sharedText(context, `${folder}/tokenizer_config.json`));
  const fromFolder = tokenizerFromHuggingFace({ folder, tokenizer: json, config });
  const fromGguf = await sharedTokenizer(context, "models/tales/tales-5.8m-f16.gguf");
  for (const tokenizer of [fromFolder, fromGguf]) {
    expect(tokenizer).toMatchObject({ vocabularySize: 4096, bosId: 0, eosId: 1, addsBos: true });
    expect([...tokenizer.eosIds]).toEqual([1]);
  }
  const text = await sharedText(context, "models/tales/val.txt");
  const ids = fromFolder.encode(text);
  expect(fromGguf.encode(text)).toEqual(ids);
  const library = new LibraryTokenizer(json as object, config as object) as {
    encode(text: string): { readonly ids: number[] };
  };
  expect(library.encode(text).ids).toEqual(ids);
  expect(fromFolder.decode(ids, { skipSpecial: true })).toBe(text);
});
