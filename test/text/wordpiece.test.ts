import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normalizeForBert } from "../../src/text/bert-normalizer.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import { metadataOf } from "./fixtures.ts";

const WORDS = [
  "un",
  "##aff",
  "##able",
  "hello",
  "##o",
  "h",
  "##e",
  "##l",
  ",",
  "!",
  "我",
  "爱",
  "cafe",
  "##s",
];
const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
const [UNKNOWN, CLS, SEP, FIRST] = [1, 2, 3, 4];

const json = {
  added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true })),
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: { type: "BertProcessing", cls: ["[CLS]", CLS], sep: ["[SEP]", SEP] },
  decoder: { type: "WordPiece", prefix: "##" },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries([...SPECIAL, ...WORDS].map((text, id) => [text, id])),
  },
};
const fromJson = tokenizerFromHuggingFace({ folder: "bert", tokenizer: json, config: {} });

const KEY = "tokenizer.ggml.";
const fromGguf = tokenizerFromGguf(
  metadataOf({
    [`${KEY}model`]: "bert",
    [`${KEY}tokens`]: [
      ...SPECIAL,
      ...WORDS.map((text) => (text.startsWith("##") ? text.slice(2) : `▁${text}`)),
    ],
    [`${KEY}token_type`]: Int32Array.from([...SPECIAL, ...WORDS], (_, id) => (id < FIRST ? 3 : 1)),
    [`${KEY}unknown_token_id`]: UNKNOWN,
    [`${KEY}cls_token_id`]: CLS,
    [`${KEY}seperator_token_id`]: SEP,
  }),
);

const idOf = (text: string) => FIRST + WORDS.indexOf(text);

describe.each([
  ["tokenizer.json", fromJson],
  ["GGUF", fromGguf],
])("WordPiece from %s", (_, tokenizer) => {
  const encode = (text: string) => tokenizer.encode(text, { addBos: false });

  test("takes the longest piece first", () => {
    expect(encode("unaffable hello")).toEqual(["un", "##aff", "##able", "hello"].map(idOf));
    expect(encode("hellos")).toEqual(["hello", "##s"].map(idOf));
  });

  test("gives a word that it cannot divide one unknown token", () => {
    expect(encode("hex unx ,")).toEqual([UNKNOWN, UNKNOWN, idOf(",")]);
  });

  test("divides at punctuation and ideographs, lower-cases, drops accents and control characters", () => {
    expect(encode("Hello,CAFÉ\u0000S!我爱")).toEqual(
      ["hello", ",", "cafe", "##s", "!", "我", "爱"].map(idOf),
    );
  });

  test("begins texts, and ends them where it is asked to", () => {
    expect(tokenizer).toMatchObject({ bosId: CLS, eosId: SEP, addsBos: true, addsEos: true });
    expect(tokenizer.encode("hello", { addEos: true })).toEqual([CLS, idOf("hello"), SEP]);
  });

  test("text cannot spell special tokens", () => {
    expect(encode("[CLS]")).toEqual([UNKNOWN, UNKNOWN, UNKNOWN]);
    expect(tokenizer.encode("[SEP]", { addBos: false, parseSpecial: true })).toEqual([SEP]);
  });

  test("decodes words with spaces between them", () => {
    expect(tokenizer.decode(encode("Unaffable  hello!"))).toBe("unaffable hello !");
  });
});

describe("WordPiece", () => {
  test("both give the same for any text", () => {
    const parts = fc.constantFrom(...WORDS, " ", "\n", "É", "x", "Σ", "́", "한");
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 12 }), (drawn) => {
        const text = drawn.join("");
        expect(fromJson.encode(text)).toEqual(fromGguf.encode(text));
      }),
    );
  });

  test("a word of more characters than the model was trained with is unknown", () => {
    const word = "h".padEnd(100, "l");
    expect(fromJson.encode(word, { addBos: false })).toHaveLength(100);
    expect(fromJson.encode(`${word}l`, { addBos: false })).toEqual([UNKNOWN]);
  });

  test("BERT's normalizer keeps vowel signs and puts spaces around ideographs", () => {
    const options = { cleanText: true, chineseChars: true, stripAccents: true, lowercase: true };
    expect(normalizeForBert("Ñ\tका ΣΣ\u200d中", options)).toBe("n का σσ 中 ");
    const cased = { cleanText: false, chineseChars: false, stripAccents: false, lowercase: false };
    expect(normalizeForBert("Ñ\t中", cased)).toBe("Ñ\t中");
  });
});
