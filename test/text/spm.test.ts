import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { smallSentencePiece, type Token } from "./fixtures.ts";

/** Ids of bytes and of further tokens in `smallSentencePiece`. */
const BYTE = 3;
const FIRST = 259;

/** SentencePiece's algorithm as it is described: again and again the best pair, of equals the leftmost. */
function reference(text: string, tokens: readonly Token[]): number[] {
  const scores = new Map(tokens.map(([piece, score]) => [piece, score ?? 0]));
  const ids = new Map(tokens.map(([piece], i) => [piece, FIRST + i]));
  const symbols = Array.from(text.replaceAll(" ", "▁"));
  for (;;) {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scores.get(`${symbols[i]}${symbols[i + 1]}`);
      if (score === undefined || score <= bestScore) continue;
      best = i;
      bestScore = score;
    }
    if (best < 0) break;
    symbols.splice(best, 2, `${symbols[best]}${symbols[best + 1]}`);
  }
  return symbols.flatMap((symbol) => {
    const id = ids.get(symbol);
    return id !== undefined ? [id] : Array.from(new TextEncoder().encode(symbol), (byte) => BYTE + byte);
  });
}

const pieces = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "b", "▁", "é"), minLength: 1, maxLength: 5 }),
  {
    maxLength: 30,
  },
);
/** Few scores, so that many are equal. */
const vocabularies = pieces.chain((texts) =>
  fc.tuple(...texts.map((text) => fc.tuple(fc.constant(text), fc.integer({ min: -4, max: 0 })))),
);
const texts = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "😀"), maxLength: 40 });

describe("SentencePiece BPE", () => {
  test("merges as the reference does, whatever the vocabulary", () => {
    fc.assert(
      fc.property(vocabularies, texts, (tokens, text) => {
        const metadata = smallSentencePiece(tokens, { "tokenizer.ggml.add_space_prefix": false });
        const ids = tokenizerFromGguf(metadata).encode(text, { addBos: false });
        expect(ids).toEqual(reference(text, tokens));
      }),
      { numRuns: 300 },
    );
  });

  test("of equal scores the leftmost pair is merged, however it is divided", () => {
    const tokenizer = tokenizerFromGguf(smallSentencePiece([["▁"], ["aa", 0], ["aaa", 1]]));
    expect(tokenizer.encode("aaaaa", { addBos: false })).toEqual([FIRST, FIRST + 2, FIRST + 1]);
  });

  test("puts a space before text at the start and after special tokens, and takes it away again", () => {
    const tokenizer = tokenizerFromGguf(smallSentencePiece([["▁"], ["▁a"]]));
    const ids = tokenizer.encode("a</s>a", { parseSpecial: true });
    expect(ids).toEqual([1, FIRST + 1, 2, FIRST + 1]);
    expect(tokenizer.decode(ids)).toBe("<s>a</s>a");
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe("aa");
    expect(new TextDecoder().decode(tokenizer.tokenBytes(FIRST + 1))).toBe(" a");
  });

  test("text cannot spell control, byte or unused pieces", () => {
    const tokens: Token[] = [["▁"], ["s>"], ["<s"], ["0x"], ["<0x"], ["41"], ["41>"], ["zz", 0, 5]];
    const tokenizer = tokenizerFromGguf(smallSentencePiece(tokens));
    for (const text of ["<s>", "</s>", "<0x41>", "zz", "<unk>"]) {
      const ids = tokenizer.encode(text, { addBos: false });
      expect(ids.some((id) => tokenizer.isSpecial(id))).toBe(false);
      expect(tokenizer.decode(ids)).toBe(text);
    }
    expect(tokenizer.encode("A", { addBos: false })).toEqual([FIRST, BYTE + 0x41]);
  });

  test("a vocabulary without byte pieces uses the unknown token", () => {
    const key = "tokenizer.ggml.tokens";
    const tokens = smallSentencePiece([["▁"]])
      .strings(key)
      .map((text) => text.replace("<0x", "<no"));
    const tokenizer = tokenizerFromGguf(smallSentencePiece([["▁"]], { [key]: tokens }));
    expect(tokenizer.encode("é", { addBos: false })).toEqual([FIRST, 0]);
  });
});
