import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AbortedError, UsageError } from "../../src/base/errors.ts";
import { GgufMetadata } from "../../src/files/gguf-metadata.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { readVocabulary } from "../../src/text/gguf-vocabulary.ts";
import { TextSlices } from "../../src/text/text-slices.ts";
import { Vocabulary } from "../../src/text/vocabulary.ts";
import {
  sharedMetadata,
  sharedTokenizer,
  smallByteLevel,
  smallSentencePiece,
  type Token,
} from "./fixtures.ts";

const MERGES = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ w", "< |", "| >", "Ċ Ċ"];
const TOKENS: readonly Token[] = [
  ["<|end|>", 0, 3],
  ["<|bos|>", 0, 3],
  ["<tool>", 0, 4],
  ["<tool>x", 0, 4],
  ["spare", 0, 5],
];
const [END, BOS, TOOL, TOOL_X, SPARE] = [265, 266, 267, 268, 269] as const;
const tokenizer = tokenizerFromGguf(
  smallByteLevel(MERGES, TOKENS, {
    "tokenizer.ggml.bos_token_id": BOS,
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.ggml.eos_token_id": END,
  }),
);
const wellFormed = fc.string({ unit: "binary", maxLength: 60 });

describe("a byte-level tokenizer", () => {
  test("merges in order", () => {
    expect(tokenizer.encode("hello hello", { addBos: false })).toEqual([259, 260]);
    expect(tokenizer.encode("hell", { addBos: false })).toEqual([258]);
  });

  test("says what it is", () => {
    expect(tokenizer).toMatchObject({ vocabularySize: 270, bosId: BOS, eosId: END, addsBos: true });
    expect([...tokenizer.eosIds]).toEqual([END]);
  });

  test("adds the first token as the model or the caller says", () => {
    expect(tokenizer.encode("")).toEqual([BOS]);
    expect(tokenizer.encode("", { addBos: false })).toEqual([]);
    const without = tokenizerFromGguf(smallByteLevel(MERGES));
    expect(without.encode("")).toEqual([]);
    expect(() => without.encode("", { addBos: true })).toThrow(UsageError);
  });

  test("finds special tokens only where asked, tokens of the author always, the longest first", () => {
    const text = "<|end|><tool>x<tool><|";
    expect(tokenizer.encode(text, { parseSpecial: true, addBos: false })).toEqual([END, TOOL_X, TOOL, 262]);
    const plain = tokenizer.encode(text, { addBos: false });
    expect(plain).not.toContain(END);
    expect(plain.slice(-3)).toEqual([TOOL_X, TOOL, 262]);
    expect(tokenizer.decode(plain)).toBe(text);
  });

  test("reads marked names as text, and drops the marks", () => {
    const text = "a<|end|><|<|end|>é<tool>";
    const options = { parseSpecial: true, addBos: false };
    expect(tokenizer.encode(tokenizer.literal(text), options)).toEqual(
      tokenizer.encode(text, { addBos: false }),
    );
    expect(tokenizer.encode(`${tokenizer.literal("<|end|>")}<|end|>`, options).at(-1)).toBe(END);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("<|end|>", "<|e", "nd|>", "<", "|bos|>", "a", "\ufdd0")),
        (parts) => {
          const ids = tokenizer.encode(tokenizer.literal(parts.join("")), options);
          expect(ids.some((id) => tokenizer.isSpecial(id))).toBe(false);
        },
      ),
    );
  });

  test("decodes with or without special tokens", () => {
    const ids = [BOS, 259, END, TOOL, SPARE, 5000];
    expect(tokenizer.decode(ids)).toBe("<|bos|>hello<|end|><tool>");
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe("hello<tool>");
    expect(ids.map((id) => tokenizer.isSpecial(id))).toEqual([true, false, true, false, true, true]);
    expect(tokenizer.tokenBytes(5000)).toEqual(new Uint8Array(0));
    for (const wrong of [-1, 1.5, Number.NaN]) expect(() => tokenizer.decode([wrong])).toThrow(UsageError);
  });

  test("gives the bytes of parts of characters", () => {
    const ids = tokenizer.encode("é", { addBos: false });
    expect(ids.map((id) => [...tokenizer.tokenBytes(id)])).toEqual([[0xc3], [0xa9]]);
    expect(tokenizer.decode(ids.slice(0, 1))).toBe("\ufffd");
  });

  test("ends texts with chat tokens that the file does not declare", () => {
    const more: Token[] = [
      ["<|im_end|>", 0, 4],
      ["<|eot_id|>", 0, 1],
      ["</s>", 0, 1],
    ];
    const found = tokenizerFromGguf(smallByteLevel(MERGES, more));
    expect([...found.eosIds]).toEqual([265, 266]);
    expect(found.encode("<|im_end|>")).not.toContain(265);
    expect(found.isSpecial(265)).toBe(true);
  });

  test("a token that ends one message of several does not end the text", () => {
    const names = ["<|end|>", "<|return|>", "<|call|>"];
    const endsOf = (texts: readonly string[]) => {
      const more = texts.map((text): Token => [text, 0, 3]);
      return [...tokenizerFromGguf(smallByteLevel([], more)).eosIds];
    };
    expect(endsOf(names)).toEqual([257, 258]);
    expect(endsOf(["<|end|>", "<|return|>"])).toEqual([256, 257]);
    expect(endsOf(["<eos>", "</s>"])).toEqual([256, 257]);
    expect(endsOf(["<eos>", "</s>", "<|tool_response>"])).toEqual([256, 258]);
  });

  test("an author's token for HTML does not end the text", () => {
    const found = tokenizerFromGguf(smallByteLevel([], [["</s>", 0, 4]]));
    expect(found.encode("</s>")).toEqual([256]);
    expect(found.isSpecial(256)).toBe(false);
  });

  test("byte order marks and halves of surrogate pairs", () => {
    expect(tokenizer.decode(tokenizer.encode("\ufeffa\ufeff", { addBos: false }))).toBe("\ufeffa\ufeff");
    expect(tokenizer.decode(tokenizer.encode("a\ud800b", { addBos: false }))).toBe("a\ufffdb");
  });
});

describe("decode(encode(text)) is the text", () => {
  test("of a byte-level vocabulary", () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text, { addBos: false }))).toBe(text);
      }),
    );
  });

  test("of a SentencePiece vocabulary, but for its space mark", () => {
    const small = tokenizerFromGguf(smallSentencePiece([["▁"], ["▁▁"], ["▁a"], ["ab"]]));
    fc.assert(
      fc.property(wellFormed, (text) => {
        const ids = small.encode(text, { addBos: false });
        expect(small.decode(ids)).toBe(text.replaceAll("▁", " "));
      }),
    );
  });

  test.for(["llama-spm", "gpt-2"])("of %s", async (name, context) => {
    const real = await sharedTokenizer(context, `fixtures/gguf-vocab/ggml-vocab-${name}.gguf`);
    fc.assert(
      fc.property(wellFormed, (text) => {
        const ids = real.encode(text, { addBos: false });
        expect(real.decode(ids)).toBe(name === "gpt-2" ? text : text.replaceAll("▁", " "));
      }),
    );
  });
});

describe("slices of a text", () => {
  const bytes = new Vocabulary(["Ġa", "a", "!Ġ", "é"], ["normal", "normal", "normal", "normal"], "bytes");
  const marks = new Vocabulary(["▁a", "b▁"], ["normal", "normal"], "spaces");

  test("end before a space that no piece has after the character before it", () => {
    const slices = (vocabulary: Vocabulary, text: string) => [...new TextSlices(vocabulary, 1).of(text)];
    expect(slices(bytes, "aa a! a\n a  a")).toEqual(["aa", " a! a\n a", "  a"]);
    expect(slices(marks, "aa▁a!▁b▁▁a")).toEqual(["aa", "▁a!", "▁b▁▁a"]);
    expect(slices(bytes, "é a")).toEqual(["é", " a"]);
    expect(slices(bytes, "")).toEqual([]);
    expect(slices(bytes, "aaaa")).toEqual(["aaaa"]);
  });

  test.for(["llama-spm", "gpt-2"])("do not change the ids of %s", async (name, context) => {
    const metadata = await sharedMetadata(context, `fixtures/gguf-vocab/ggml-vocab-${name}.gguf`);
    const prefix = name === "gpt-2" ? "" : " ";
    const slices = new TextSlices(readVocabulary(metadata, name === "gpt-2" ? "bytes" : "spaces"), 1);
    const real = tokenizerFromGguf(withoutPrefix(metadata));
    const spelled = (text: string) => (name === "gpt-2" ? text : text.replaceAll(" ", "▁"));
    const words = fc.array(fc.constantFrom(" ", "  ", "\n", "a", "Hello", "!", "é", "我", "12", "\t", "'s"));
    fc.assert(
      fc.property(words, (parts) => {
        const text = prefix + parts.join("");
        const cut = [...slices.of(spelled(text))].map((slice) => slice.replaceAll("▁", " "));
        expect(cut.join("")).toBe(text);
        expect(cut.flatMap((slice) => real.encode(slice, { addBos: false }))).toEqual(
          real.encode(text, { addBos: false }),
        );
      }),
    );
  });
});

function withoutPrefix(metadata: GgufMetadata): GgufMetadata {
  const value = { type: "bool", value: false } as const;
  return new GgufMetadata("test", new Map([...metadata.entries, ["tokenizer.ggml.add_space_prefix", value]]));
}

describe("encodeLong", () => {
  const text = "hello hello whello\n".repeat(20_000);

  test("gives the ids of encode, and the event loop its turn", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const ids = await tokenizer.encodeLong(text);
    clearInterval(timer);
    expect(ids).toEqual(tokenizer.encode(text));
    expect(turns).toBeGreaterThan(1);
  });

  test("pauses within a word of any length", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const ids = await tokenizer.encodeLong("hell".repeat(50_000), { addBos: false });
    clearInterval(timer);
    expect(ids).toEqual(new Array(50_000).fill(258));
    expect(turns).toBeGreaterThan(1);
  });

  test("stops when it is told to", async () => {
    await expect(tokenizer.encodeLong(text, { signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 5);
    await expect(tokenizer.encodeLong(text, { signal: controller.signal })).rejects.toThrow(AbortedError);
  });
});
