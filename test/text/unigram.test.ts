import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { tokenizerFromHuggingFace } from "../../src/text/hf-tokenizer.ts";
import { charsmapOf } from "./charsmap-fixture.ts";
import { metadataOf, type Token } from "./fixtures.ts";

const KEY = "tokenizer.ggml.";
const SPECIAL: readonly Token[] = [
  ["<pad>", 0, 3],
  ["</s>", 0, 3],
  ["<unk>", 0, 2],
];
const FIRST = SPECIAL.length;
const UNKNOWN = 2;

function metadataFor(tokens: readonly Token[], more: Parameters<typeof metadataOf>[0] = {}) {
  const all = [...SPECIAL, ...tokens];
  return metadataOf({
    [`${KEY}model`]: "t5",
    [`${KEY}tokens`]: all.map(([text]) => text),
    [`${KEY}scores`]: Float32Array.from(all, ([, score]) => score ?? 0),
    [`${KEY}token_type`]: Int32Array.from(all, ([, , type]) => type ?? 1),
    ...more,
  });
}

/** The score of the best division, by trying all of them; unknown characters cost 10 more than the worst piece. */
function bestScore(text: string, tokens: readonly Token[]): number {
  const characters = Array.from(text);
  const unknown = Math.min(0, ...tokens.map(([, score]) => score ?? 0)) - 10;
  const best = [0];
  for (let end = 1; end <= characters.length; end++) {
    let most = (best[end - 1] as number) + unknown;
    for (let start = 0; start < end; start++) {
      const piece = tokens.find(([token]) => token === characters.slice(start, end).join(""));
      if (piece !== undefined) most = Math.max(most, (best[start] as number) + (piece[1] ?? 0));
    }
    best.push(most);
  }
  return best[characters.length] as number;
}

const pieces = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "b", "▁", "é", "😀"), minLength: 1, maxLength: 4 }),
  { maxLength: 20 },
);
const vocabularies = pieces.chain((texts) =>
  fc.tuple(...texts.map((text) => fc.tuple(fc.constant(text), fc.integer({ min: -9, max: -1 })))),
);
const texts = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "😀", "c"), maxLength: 24 });

describe("a unigram tokenizer", () => {
  test("finds a division as likely as the best, whatever the vocabulary", () => {
    fc.assert(
      fc.property(vocabularies, texts, (tokens, text) => {
        const ids = tokenizerFromGguf(metadataFor(tokens)).encode(text);
        const known = ids.filter((id) => id !== UNKNOWN);
        const covered = known.map((id) => tokens[id - FIRST]?.[0] as string).join("");
        const score = known.reduce((sum, id) => sum + (tokens[id - FIRST]?.[1] ?? 0), 0);
        const worst = Math.min(0, ...tokens.map(([, one]) => one));
        const lost = Array.from(text).length - Array.from(covered).length;
        expect(score + lost * (worst - 10)).toBeCloseTo(bestScore(text.replaceAll(" ", "▁"), tokens));
      }),
      { numRuns: 300 },
    );
  });

  const PIECES: readonly Token[] = [
    ["▁", -3],
    ["▁a", -2],
    ["a", -4],
    ["b", -4],
    ["ab", -5],
  ];

  test("gives one unknown token for a run of them", () => {
    const tokenizer = tokenizerFromGguf(metadataFor(PIECES, { [`${KEY}add_space_prefix`]: true }));
    expect(tokenizer.encode("axyb z")).toEqual([FIRST + 1, UNKNOWN, FIRST + 3, FIRST, UNKNOWN]);
    expect(tokenizer.decode([FIRST + 1, FIRST + 4])).toBe("aab");
  });

  test("spells unknown characters with bytes where all their bytes have pieces", () => {
    const bytes: Token[] = ["C3", "A9"].map((hex) => [`<0x${hex}>`, 0, 6]);
    const tokenizer = tokenizerFromGguf(metadataFor([...PIECES, ...bytes]));
    expect(tokenizer.encode("aéx")).toEqual([FIRST + 2, UNKNOWN]);
    expect(tokenizer.encode("éa")).toEqual([FIRST + 5, FIRST + 6, FIRST + 2]);
    expect(tokenizer.decode([FIRST + 5, FIRST + 6])).toBe("é");
  });

  test("normalizes as the file says", () => {
    const tokenizer = tokenizerFromGguf(
      metadataFor(PIECES, {
        [`${KEY}remove_extra_whitespaces`]: true,
        [`${KEY}precompiled_charsmap`]: Int32Array.from(charsmapOf({ A: "a", "\t": " ", "a\u0301": "b" })),
      }),
    );
    expect(tokenizer.encode("  A \t b ")).toEqual([FIRST + 1, FIRST, FIRST + 3]);
    expect(tokenizer.encode("a\u0301")).toEqual([FIRST, FIRST + 3]);
    expect(tokenizer.encode("   ")).toEqual([]);
  });

  test("puts the end token after a text where it is asked to", () => {
    const tokenizer = tokenizerFromGguf(metadataFor(PIECES));
    expect(tokenizer).toMatchObject({ eosId: 1, addsBos: false, addsEos: true });
    expect(tokenizer.encode("a")).toEqual([FIRST + 2]);
    expect(tokenizer.encode("a", { addEos: true })).toEqual([FIRST + 2, 1]);
  });

  test("text cannot spell control, byte or unused pieces", () => {
    const tokenizer = tokenizerFromGguf(metadataFor([...PIECES, ["<", -1], ["s>", -1], ["zz", -1, 5]]));
    for (const text of ["</s>", "<unk>", "zz", "<0x41>"]) {
      expect(tokenizer.encode(text).filter((id) => id !== UNKNOWN && tokenizer.isSpecial(id))).toEqual([]);
    }
    expect(tokenizer.encode("</s>", { parseSpecial: true })).toEqual([1]);
  });

  test("a megabyte of one letter is divided, with pauses", async () => {
    const tokenizer = tokenizerFromGguf(
      metadataFor([
        ["a", -1],
        ["aa", -1],
      ]),
    );
    const ids = await tokenizer.encodeLong("a".repeat(1_000_000));
    expect(ids).toEqual(new Array(500_000).fill(FIRST + 1));
  });

  test.each<[string, Parameters<typeof metadataOf>[0]]>([
    ["precompiled_charsmap", { [`${KEY}precompiled_charsmap`]: Int32Array.from([9, 9, 9, 9, 9]) }],
    ["precompiled_charsmap", { [`${KEY}precompiled_charsmap`]: "none" }],
    ["scores", { [`${KEY}scores`]: new Float32Array(1) }],
    ["remove_extra_whitespaces", { [`${KEY}remove_extra_whitespaces`]: 1 }],
  ])("a wrong %s is refused", (key, more) => {
    const attempt = () => tokenizerFromGguf(metadataFor(PIECES, more));
    expect(attempt).toThrow(expect.objectContaining({ field: KEY + key }));
  });
});

/** As XLM-R's files are. */
const XLM_R = {
  added_tokens: [
    { id: 0, content: "<s>", special: true },
    { id: 1, content: "</s>", special: true },
    { id: 2, content: "<unk>", special: true },
  ],
  normalizer: null as unknown,
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [
      { type: "WhitespaceSplit" },
      { type: "Metaspace", replacement: "▁", add_prefix_space: true },
    ],
  },
  post_processor: { type: "RobertaProcessing", cls: ["<s>", 0], sep: ["</s>", 1] },
  decoder: { type: "Metaspace", replacement: "▁", add_prefix_space: true },
  model: {
    type: "Unigram",
    unk_id: 2,
    vocab: [
      ["<s>", 0],
      ["</s>", 0],
      ["<unk>", 0],
      ["▁", -3.5],
      ["▁a", -2.25],
      ["a", -4],
      ["b", -4.125],
      ["ab", -5],
      ["▁ab", -6],
      ["é", -7],
    ],
  },
};
const load = (tokenizer: unknown) => tokenizerFromHuggingFace({ folder: "m", tokenizer, config: undefined });

describe("a unigram tokenizer.json", () => {
  test("gives the library's ids", () => {
    const ours = load(XLM_R);
    const library = new LibraryTokenizer(XLM_R, {}) as {
      encode(text: string, options: object): { readonly ids: number[] };
    };
    const parts = fc.constantFrom("a", "b", "ab", " ", "  ", "\n", "é", "x", "😀");
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 12 }), (drawn) => {
        const text = drawn.join("");
        expect(ours.encode(text, { addBos: false })).toEqual(
          library.encode(text, { add_special_tokens: false }).ids,
        );
      }),
      { numRuns: 500 },
    );
  });

  test("begins and ends texts as its post-processor says", () => {
    expect(load(XLM_R)).toMatchObject({ bosId: 0, eosId: 1, addsBos: true, addsEos: true });
    expect(load(XLM_R).encode(" a  ab", { addEos: true })).toEqual([0, 4, 8, 1]);
    expect(load(XLM_R).decode([4, 8])).toBe("a ab");
  });

  test("normalizes with its table", () => {
    const table = btoa(String.fromCharCode(...charsmapOf({ Ａ: "a" })));
    const json = { ...XLM_R, normalizer: { type: "Precompiled", precompiled_charsmap: table } };
    expect(load(json).encode("ＡＡ", { addBos: false })).toEqual([4, 5]);
  });

  test.each<[string, unknown]>([
    ["model.vocab", { ...XLM_R, model: { type: "Unigram", vocab: [] } }],
    ["model.vocab[0]", { ...XLM_R, model: { type: "Unigram", vocab: [["a", "b"]] } }],
    ["model.unk_id", { ...XLM_R, model: { ...XLM_R.model, unk_id: 99 } }],
    [
      "normalizer.precompiled_charsmap",
      { ...XLM_R, normalizer: { type: "Precompiled", precompiled_charsmap: "!" } },
    ],
    ["post_processor.cls", { ...XLM_R, post_processor: { type: "BertProcessing", sep: ["a", 1] } }],
  ])("a wrong %s is refused", (field, json) => {
    expect(() => load(json)).toThrow(expect.objectContaining({ field }));
  });
});
