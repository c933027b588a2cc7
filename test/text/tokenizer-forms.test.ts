import { describe, expect, test } from "vitest";
import { GgufMetadata } from "../../src/files/gguf-metadata.ts";
import { CHAR_OF_BYTE } from "../../src/text/byte-alphabet.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { ggufTokenizer } from "../../src/text/gguf-tokenizer-writer.ts";
import type { TokenizerMetadata } from "../../src/text/gguf-vocabulary.ts";
import { tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import { huggingFaceTokenizer } from "../../src/text/hf-tokenizer-writer.ts";
import { MARK_SPACES } from "../../src/text/text-splitter.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { charsmapOf } from "./charsmap-fixture.ts";
import { metadataOf, sharedMetadata, smallByteLevel, smallSentencePiece, type Token } from "./fixtures.ts";
import { LLAMA, PIECES as SENTENCE_PIECES, sentencePiece } from "./sentencepiece-fixture.ts";

const KEY = "tokenizer.ggml.";

/** Emoji, right-to-left scripts, code, spaces of all kinds. */
const TEXTS = [
  "a b ab  bab   aa",
  " leading and trailing ",
  "👩‍👩‍👧 ok 🙂🙂 🇩🇪",
  "שלום עולם, مرحبا بالعالم!",
  "for (let i = 0; i < n; i++) {\n\t  sum += a[i];\n}\r\n",
  "Ünïcödé ＡＢ ½ 你好，世界 안녕",
  "unaffable hellos, café!",
  "<s>[CLS] </s> [SEP] <unk>",
  "",
  "   ",
];

const SPECIAL: readonly Token[] = [
  ["<pad>", 0, 3],
  ["</s>", 0, 3],
  ["<unk>", 0, 2],
];
const PIECES: readonly Token[] = [
  ["▁", -3],
  ["▁a", -2],
  ["a", -4],
  ["b", -4],
  ["ab", -5],
  ["▁ab", -4.5],
  ["o", -4],
  ["🙂", -6],
  ["שלום", -7],
  ["<user>", 0, 4],
  ["not used", 0, 5],
];

function unigram(more: Parameters<typeof metadataOf>[0] = {}, bytes = false) {
  const all = [...SPECIAL, ...PIECES, ...(bytes ? byteTokens() : [])];
  return metadataOf({
    [`${KEY}model`]: "t5",
    [`${KEY}tokens`]: all.map(([text]) => text),
    [`${KEY}scores`]: Float32Array.from(all, ([, score]) => score ?? 0),
    [`${KEY}token_type`]: Int32Array.from(all, ([, , type]) => type ?? 1),
    ...more,
  });
}

function byteTokens(): Token[] {
  return Array.from({ length: 256 }, (_, byte) => {
    return [`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0, 6];
  });
}

const WORDS = [
  "un",
  "##aff",
  "##able",
  "hello",
  "##s",
  "a",
  "b",
  "##b",
  ",",
  "!",
  "你",
  "好",
  "cafe",
  "café",
];
const ENDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

const wordPiece = (more: Parameters<typeof metadataOf>[0] = {}) =>
  metadataOf({
    [`${KEY}model`]: "bert",
    [`${KEY}tokens`]: [...ENDS, ...WORDS.map((text) => (text.startsWith("##") ? text.slice(2) : `▁${text}`))],
    [`${KEY}token_type`]: Int32Array.from([...ENDS, ...WORDS], (_, id) => (id < ENDS.length ? 3 : 1)),
    [`${KEY}unknown_token_id`]: 1,
    [`${KEY}cls_token_id`]: 2,
    [`${KEY}seperator_token_id`]: 3,
    ...more,
  });

const charsmap = Int32Array.from(charsmapOf({ A: "a", "\t": " ", "\n": " ", "a\u0301": "b", "½": "ab" }));
const prefixed = { [`${KEY}add_space_prefix`]: true };
const merging = { [`${KEY}remove_extra_whitespaces`]: true, [`${KEY}precompiled_charsmap`]: charsmap };

const FORMS: readonly (readonly [string, GgufMetadata])[] = [
  ["unigram", unigram()],
  ["unigram with a space before the text", unigram(prefixed)],
  ["unigram with bytes", unigram(prefixed, true)],
  ["unigram that normalizes", unigram(merging)],
  ["WordPiece", wordPiece()],
  ["WordPiece with capitals", wordPiece({ [`${KEY}normalizer.lowercase`]: false })],
  ["WordPiece with accents", wordPiece({ [`${KEY}normalizer.strip_accents`]: false })],
  ["SentencePiece BPE", smallSentencePiece(PIECES)],
  [
    "SentencePiece BPE without a space before the text",
    smallSentencePiece(PIECES, { [`${KEY}add_space_prefix`]: false }),
  ],
  [
    "byte-level BPE",
    smallByteLevel(["a b", "ab a", "Ġ a"], [["<|end|>", 0, 3]], { [`${KEY}pre`]: "llama-bpe" }),
  ],
];

function expectSame(found: Tokenizer, wanted: Tokenizer): void {
  for (const text of TEXTS) {
    for (const options of [{}, { parseSpecial: true }, { addBos: false }]) {
      expect([text, found.encode(text, options)]).toEqual([text, wanted.encode(text, options)]);
    }
    const ids = wanted.encode(text);
    expect(found.decode(ids)).toBe(wanted.decode(ids));
  }
  const { bosId, eosId, addsBos, addsEos } = wanted;
  expect(found).toMatchObject({ addsBos, addsEos, eosId, ...(addsBos ? { bosId } : {}) });
}

const toFolder = (metadata: TokenizerMetadata) => {
  const files = huggingFaceTokenizer(metadata, tokenizerFromGguf(metadata), undefined);
  return { files, tokenizer: tokenizerFromHuggingFace({ folder: "folder", ...files }) };
};

function toGguf(json: object, tokenizer: Tokenizer): Tokenizer {
  return tokenizerFromGguf(
    new GgufMetadata(
      "file",
      ggufTokenizer({ folder: "folder", tokenizer: json, config: undefined }, tokenizer, 0),
    ),
  );
}

describe.each(FORMS)("%s", (_, metadata) => {
  const original = tokenizerFromGguf(metadata);

  test("is the same in a folder, and back", () => {
    const { files, tokenizer } = toFolder(metadata);
    expectSame(tokenizer, original);
    expectSame(toGguf(files.tokenizer, tokenizer), original);
  });
});

test.for(["ggml-vocab-llama-spm", "ggml-vocab-gpt-2"])(
  "%s is the same in a folder, and back",
  async (name, context) => {
    const metadata = await sharedMetadata(context, `fixtures/gguf-vocab/${name}.gguf`);
    const { files, tokenizer } = toFolder(metadata);
    expectSame(tokenizer, tokenizerFromGguf(metadata));
    expectSame(toGguf(files.tokenizer, tokenizer), tokenizer);
  },
);

describe("what older folders have goes to GGUF", () => {
  const chars = CHAR_OF_BYTE.map((char, byte) => [char, byte] as const);
  const vocab = Object.fromEntries([...chars, ["ab", 256], ["aba", 257], ["<|endoftext|>", 258]]);
  test.each([
    ["vocab.json and merges.txt", { gpt2: { vocab, merges: "#version: 0.2\na b\nab a\n" } }],
    ["tokenizer.model", { sentencePiece: LLAMA }],
    ["tokenizer.model, unigram", { sentencePiece: sentencePiece(1, SENTENCE_PIECES, () => {}) }],
  ])("%s", (_, files) => {
    const all = { folder: "folder", tokenizer: undefined, config: undefined, ...files };
    const tokenizer = tokenizerFromHuggingFace(all);
    const metadata = new GgufMetadata("file", ggufTokenizer(all, tokenizer, 300));
    expectSame(tokenizerFromGguf(metadata), tokenizer);
    expect(metadata.strings(`${KEY}tokens`)).toHaveLength(300);
  });
});

describe("what would be another tokenizer is said", () => {
  const { files } = toFolder(unigram(prefixed, true));
  const changed = (more: object) => {
    const json = { ...files.tokenizer, ...more };
    const tokenizer = tokenizerFromHuggingFace({ folder: "folder", tokenizer: json, config: files.config });
    return () => toGguf(json, tokenizer);
  };

  test("a normalizer that GGUF lacks", () => {
    const steps = [{ type: "NFKD" }, { type: "Lowercase" }, MARK_SPACES];
    expect(changed({ normalizer: { type: "Sequence", normalizers: steps } })).toThrow(
      "divide text otherwise",
    );
  });
});
