import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileFormatError } from "../../src/base/errors.ts";
import { CHAR_OF_BYTE } from "../../src/text/byte-alphabet.ts";
import { type HuggingFaceTokenizerFiles, tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import { charsmapOf } from "./charsmap-fixture.ts";
import { bytes, LLAMA, PIECES, sentencePiece } from "./sentencepiece-fixture.ts";

const load = (files: Partial<HuggingFaceTokenizerFiles>) =>
  tokenizerFromHuggingFace({ folder: "m", tokenizer: undefined, config: undefined, ...files });

const VOCAB = Object.fromEntries(
  ["</s>", "<|endoftext|>", ...CHAR_OF_BYTE, "ab", "Ġab"].map((text, id) => [text, id]),
);
const GPT2 = { vocab: VOCAB, merges: "#version: 0.2\na b\nĠ ab\n" };

describe("vocab.json and merges.txt", () => {
  test("as GPT-2 has them, without a config", () => {
    const tokenizer = load({ gpt2: GPT2 });
    expect(tokenizer.encode("ab ab")).toEqual([258, 259]);
    expect(tokenizer).toMatchObject({ bosId: undefined, addsBos: false });
    expect([...tokenizer.eosIds]).toEqual([1]);
    expect(tokenizer.encode("<|endoftext|>")).not.toContain(1);
  });

  test("as OPT has them, with its tokens in the config", () => {
    const config = {
      bos_token: { content: "</s>", special: true },
      eos_token: "</s>",
      add_bos_token: true,
      added_tokens_decoder: { "260": { content: "<mask>", lstrip: true, special: true } },
    };
    const tokenizer = load({ gpt2: GPT2, config });
    expect(tokenizer).toMatchObject({ bosId: 0, eosId: 0, addsBos: true, vocabularySize: 261 });
    expect(tokenizer.encode("ab")).toEqual([0, 258]);
    expect(tokenizer.encode("ab <mask>", { parseSpecial: true })).toEqual([0, 258, 260]);
  });

  test.each<[string, Partial<HuggingFaceTokenizerFiles>]>([
    ["merges.txt", { gpt2: { vocab: VOCAB, merges: "#version: 0.2\n" } }],
    ["model.merges[0]", { gpt2: { vocab: VOCAB, merges: "ab\n" } }],
    ["the file", { gpt2: { vocab: [], merges: "a b" } }],
    ["added_tokens_decoder", { gpt2: GPT2, config: { added_tokens_decoder: { x: { content: "a" } } } }],
    ["added_tokens_decoder", { gpt2: GPT2, config: { added_tokens_decoder: { "3": {} } } }],
    ["tokenizer.json", {}],
  ])("a wrong %s is refused", (field, files) => {
    expect(() => load(files)).toThrow(expect.objectContaining({ field }));
  });
});

describe("tokenizer.model", () => {
  test("BPE, as Llama's is", () => {
    const tokenizer = load({ sentencePiece: LLAMA, eosIds: [4] });
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, addsBos: true, addsEos: false });
    expect([...tokenizer.eosIds].sort()).toEqual([2, 4]);
    expect(tokenizer.encode("ab a")).toEqual([1, 7, 3, 4]);
    expect(tokenizer.encode("a  b", { addBos: false })).toEqual([3, 4, 8, 3, 5]);
  });

  test("unigram, as T5's is, with a table of replacements", () => {
    const file = sentencePiece(1, PIECES.slice(0, -1), (to) => bytes(to, 2, charsmapOf({ B: "b" }).slice()));
    const tokenizer = load({ sentencePiece: file });
    expect(tokenizer).toMatchObject({ addsBos: false, addsEos: true });
    expect(tokenizer.encode("  aB  a ")).toEqual([7, 3, 4]);
  });

  test("the config's tokens come on top", () => {
    const config = {
      eos_token: "<|im_end|>",
      add_bos_token: false,
      added_tokens_decoder: { "9": { content: "<|im_end|>", special: true }, "11": { content: "<tool>" } },
    };
    const tokenizer = load({ sentencePiece: LLAMA, config });
    expect(tokenizer).toMatchObject({ eosId: 9, addsBos: false, vocabularySize: 12 });
    expect(tokenizer.encode("<|im_end|>", { parseSpecial: true })).toEqual([9]);
    expect(tokenizer.encode("<tool>")).toEqual([11]);
  });

  test("any bytes are read or refused with the file's name", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(LLAMA.length), (noise, at) => {
        for (const file of [noise, LLAMA.slice(0, at), Uint8Array.from([...LLAMA.slice(0, at), ...noise])]) {
          try {
            load({ sentencePiece: file }).encode("a b");
          } catch (error) {
            expect(error).toBeInstanceOf(FileFormatError);
            expect((error as FileFormatError).file).toBe("m/tokenizer.model");
          }
        }
      }),
    );
  });

  test("an algorithm that is not known, and ids that skip millions", () => {
    expect(() => load({ sentencePiece: sentencePiece(3, PIECES, () => {}) })).toThrow(
      expect.objectContaining({ field: "trainer_spec.model_type" }),
    );
    const config = { added_tokens_decoder: { "4000000": { content: "a" } } };
    expect(() => load({ sentencePiece: LLAMA, config })).toThrow(
      expect.objectContaining({ field: "added_tokens_decoder" }),
    );
  });
});
