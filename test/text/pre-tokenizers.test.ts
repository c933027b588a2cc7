import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UnsupportedError, UsageError } from "../../src/base/errors.ts";
import { isolate, preTokenizerOf } from "../../src/text/pre-tokenizers.ts";
import { TextSlices } from "../../src/text/text-slices.ts";
import { TextSplitter } from "../../src/text/text-splitter.ts";
import { Vocabulary } from "../../src/text/vocabulary.ts";

function splitter(name: string): TextSplitter {
  const pre = preTokenizerOf(name, "test.gguf");
  return new TextSplitter([], pre === "characters" ? [] : pre.patterns.map(isolate));
}

/** Where each part of a divided text ends. */
function ends(parts: readonly string[]): number[] {
  let end = 0;
  return parts.map((part) => (end += part.length));
}

const TEXT = "Hello, y'ALL! It's 12345\t\tmiles\n\n  über 'ell";

/** What each family makes of `TEXT`, by its pattern. */
const EXPECTED: Record<string, readonly string[]> = {
  "gpt-2": "Hello|,| y|'|ALL|!| It|'s| 12345|\t|\t|miles|\n\n | über| '|ell".split("|"),
  default: "Hello|,| y|'|ALL|!| It|'|s| |123|45|\t|\t|miles|\n\n | über| |'|ell".split("|"),
  smollm: "Hello|,| y|'|ALL|!| It|'s| |1|2|3|4|5|\t|\t|miles|\n\n | über| '|ell".split("|"),
  "llama-bpe": "Hello|,| y|'ALL|!| It|'s| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  qwen2: "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "gpt-4o": "Hello|,| y|'ALL|!| It's| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  tekken: "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "deepseek-v3": "Hello|,| y|'ALL|!| It|'s| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "deepseek-llm": "Hello|,| y|'|ALL|!| It|'|s| |12345|\t|\tmiles|\n|\n| | ü|ber| '|ell".split("|"),
  minicpm5: "Hello|,| y|'ALL|!| It|'s| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "jais-2": "Hello|,| y|'ALL|!| It|'s| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  laguna: "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  bailingmoe: "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "seed-coder": "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "exaone-moe": "Hello|,| y|'ALL|!| It|'s| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  chameleon: "Hello|,| y|'|ALL|!| It|'|s| |1|2|3|4|5|\t|\t|miles|\n|\n|  |über| |'|ell".split("|"),
  superbpe: "Hello, y'ALL! It's |12|345|\t\tmiles\n\n  über 'ell".split("|"),
  afmoe: "Hello|,| y|'ALL|!| It|'s| |12|345|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  tiny_aya: "Hello|,| y|'ALL|!| It's| |12|345|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  youtu: "Hello|,| y|'ALL|!| It's| |1|2|3|4|5|\t|\tmiles|\n\n| | über| '|ell".split("|"),
  "kimi-k2": "Hello|,| y|'ALL|!| It's| |123|45|\t|\tmiles|\n\n| | über| '|ell".split("|"),
};

describe("pre-tokenizers", () => {
  test.each(Object.entries(EXPECTED))("%s", (name, expected) => {
    expect(splitter(name).split(TEXT)).toEqual(expected);
  });

  const names =
    "gpt-2 default smollm llama-bpe qwen2 gpt-4o tekken deepseek-v3 deepseek-coder falcon bloom viking minicpm5 " +
    "jais-2 laguna bailingmoe qwen35 seed-coder chameleon deepseek-llm afmoe tiny_aya youtu kimi-k2";

  test.each(names.split(" "))("%s loses nothing of any text", (name) => {
    const pieces = splitter(name);
    const text = fc.string({ unit: "binary", maxLength: 60 });
    fc.assert(
      fc.property(text, (x) => {
        expect(pieces.split(x).join("")).toBe(x);
      }),
    );
  });

  test.each(names.split(" "))("%s divides slices as it divides the whole, and between them", (name) => {
    const pieces = splitter(name);
    const slices = new TextSlices(new Vocabulary([], [], "bytes"), 1);
    const parts = fc.constantFrom(
      " ",
      "  ",
      "\n",
      "\r",
      "\t",
      "a",
      "B",
      "é",
      "我",
      "1",
      "22",
      "!",
      "..",
      "'s",
      "́",
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 20 }), (drawn) => {
        const text = drawn.join("");
        const cut = [...slices.of(text)];
        const expected = new Set([...ends(pieces.split(text)), ...ends(cut)]);
        expect(ends(cut.flatMap((slice) => pieces.split(slice)))).toEqual(
          [...expected].sort((a, b) => a - b),
        );
      }),
      { numRuns: 1000 },
    );
  });

  test("groups digits from the right, also of a text that is nothing but digits", () => {
    const groups = (text: string) =>
      splitter("afmoe")
        .split(text)
        .map((part) => part.length);
    expect(groups("1234567")).toEqual([1, 3, 3]);
    expect(groups("123456 12")).toEqual([3, 3, 1, 2]);
    expect(groups("1".repeat(1023))).toEqual(new Array(341).fill(3));
    const started = performance.now();
    groups("1".repeat(60_000));
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("white space is Unicode's: a byte order mark is none, a next line is", () => {
    expect(splitter("gpt-2").split("a\ufeffb\u0085c")).toEqual(["a", "\ufeff", "b", "\u0085", "c"]);
    expect(splitter("gpt-2").split("a \ufeff")).toEqual(["a", " \ufeff"]);
  });

  test("a run of letters too long for the engine's regular expressions is refused", () => {
    expect(splitter("gpt-2").split("a".repeat(1e7))).toHaveLength(1);
    expect(() => splitter("gpt-2").split("\u{10400}".repeat(1e7))).toThrow(UsageError);
  });

  test("an unknown name is refused with the known ones", () => {
    expect(() => preTokenizerOf("klingon", "x.gguf")).toThrow(UnsupportedError);
    expect(() => preTokenizerOf("klingon", "x.gguf")).toThrow(
      /tokenizer\.ggml\.pre is "klingon".*llama-bpe.*qwen2/,
    );
    expect(() => preTokenizerOf("__proto__", "x.gguf")).toThrow(UnsupportedError);
  });
});
