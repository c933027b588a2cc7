import { describe, expect, test } from "vitest";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { smallByteLevel, smallSentencePiece, type Token } from "./fixtures.ts";

const KEY = "tokenizer.ggml.";
const NONE = 2 ** 32 - 1;

describe("hostile metadata is refused by key", () => {
  type Entries = Parameters<typeof smallByteLevel>[2];
  const refusals: readonly (readonly [string, Entries, "llama" | "gpt2"])[] = [
    ["model", { [`${KEY}model`]: undefined }, "llama"],
    ["model", { [`${KEY}model`]: 3 }, "llama"],
    ["tokens", { [`${KEY}tokens`]: undefined }, "llama"],
    ["tokens", { [`${KEY}tokens`]: [] }, "gpt2"],
    ["tokens", { [`${KEY}tokens`]: new Int32Array(3) }, "gpt2"],
    ["scores", { [`${KEY}scores`]: new Float32Array(3) }, "llama"],
    ["scores", { [`${KEY}scores`]: ["a"] }, "llama"],
    [
      "scores[2]",
      { [`${KEY}scores`]: Float32Array.from({ length: 259 }, (_, i) => (i === 2 ? NaN : 0)) },
      "llama",
    ],
    ["token_type", { [`${KEY}token_type`]: new Int32Array(3) }, "gpt2"],
    ["token_type", { [`${KEY}token_type`]: "normal" }, "gpt2"],
    ["token_type[1]", { [`${KEY}token_type`]: Int32Array.from({ length: 256 }, (_, i) => 7 * i) }, "gpt2"],
    ["merges", { [`${KEY}merges`]: undefined }, "gpt2"],
    ["merges[1]", { [`${KEY}merges`]: ["a b", "ab"] }, "gpt2"],
    ["merges[0]", { [`${KEY}merges`]: [" a"] }, "gpt2"],
    ["merges[0]", { [`${KEY}merges`]: ["a "] }, "gpt2"],
    ["pre", { [`${KEY}pre`]: 5 }, "gpt2"],
    ["bos_token_id", { [`${KEY}bos_token_id`]: 256 }, "gpt2"],
    ["eos_token_id", { [`${KEY}eos_token_id`]: 259 }, "llama"],
    ["eot_token_id", { [`${KEY}eot_token_id`]: NONE - 1 }, "llama"],
    ["eos_token_id", { [`${KEY}eos_token_id`]: "2" }, "llama"],
    ["unknown_token_id", { [`${KEY}unknown_token_id`]: 1000 }, "llama"],
    ["add_bos_token", { [`${KEY}add_bos_token`]: true }, "gpt2"],
    ["add_bos_token", { [`${KEY}add_bos_token`]: 1 }, "llama"],
    ["add_space_prefix", { [`${KEY}add_space_prefix`]: "yes" }, "llama"],
  ];

  test.each(refusals)("%s: %o", (key, entries, model) => {
    const attempt = () =>
      tokenizerFromGguf(
        model === "llama" ? smallSentencePiece([], entries) : smallByteLevel([], [], entries),
      );
    expect(attempt).toThrow(FileFormatError);
    expect(attempt).toThrow(expect.objectContaining({ field: KEY + key }));
  });

  test("an unknown model or pre-tokenizer, its name made harmless", () => {
    const model = smallSentencePiece([], { [`${KEY}model`]: "t5\u001b[31m" });
    expect(() => tokenizerFromGguf(model)).toThrow(UnsupportedError);
    expect(() => tokenizerFromGguf(model)).toThrow(/"t5\\u001b\[31m".*gpt2, llama/);
    expect(() => tokenizerFromGguf(smallByteLevel([], [], { [`${KEY}pre`]: "novel" }))).toThrow(
      UnsupportedError,
    );
  });
});

describe("odd vocabularies work", () => {
  test("names of objects' own properties", () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    const tokenizer = tokenizerFromGguf(
      smallByteLevel(["t o"], [...names.map((name): Token => [name, 0, 4]), ["", 0, 4]]),
    );
    expect(tokenizer.encode(names.join(""))).toEqual([257, 258, 259, 260]);
    expect(tokenizer.decode([257, 258])).toBe("__proto__constructor");
  });

  test("ids that say there is no such token", () => {
    const none = { [`${KEY}bos_token_id`]: NONE, [`${KEY}eos_token_id`]: NONE };
    const tokenizer = tokenizerFromGguf(smallSentencePiece([], none));
    expect(tokenizer).toMatchObject({ bosId: undefined, eosId: undefined, addsBos: false });
    expect([...tokenizer.eosIds]).toEqual([2]); // "</s>" by name
  });

  test("files without types", () => {
    const tokenizer = tokenizerFromGguf(smallSentencePiece([["▁"]], { [`${KEY}token_type`]: undefined }));
    expect(tokenizer.isSpecial(1)).toBe(true);
    expect([...tokenizer.tokenBytes(3 + 0x41)]).toEqual([0x41]);
  });

  test("merges of nothing, of the same twice, of what is no piece", () => {
    const merges = ["a b", "a b", "x y"];
    const tokenizer = tokenizerFromGguf(smallByteLevel(["a b"], [], { [`${KEY}merges`]: merges }));
    expect(tokenizer.encode("abxy")).toHaveLength(3);
  });

  test("more merges than memory holds", () => {
    const tokens = Array.from({ length: 1 << 18 }, (_, i): Token => [(i + 2).toString(2).slice(1)]);
    const attempt = () => tokenizerFromGguf(smallSentencePiece(tokens));
    expect(attempt).toThrow(expect.objectContaining({ field: `${KEY}tokens` }));
  });

  test("very long pieces cost little", () => {
    const long: Token[] = Array.from({ length: 50 }, (_, i) => ["a".repeat(20_000) + i]);
    const started = performance.now();
    const tokenizer = tokenizerFromGguf(smallSentencePiece([["▁"], ["a"], ...long]));
    expect(tokenizer.encode("aa", { addBos: false })).toHaveLength(3);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("a piece that is no byte spelling decodes as it stands", () => {
    const tokenizer = tokenizerFromGguf(smallByteLevel([], [["日本"]]));
    expect(tokenizer.decode([256])).toBe("日本");
  });
});
