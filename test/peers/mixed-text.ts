import { readFileSync } from "node:fs";
import { at } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";

type Range = readonly [first: number, last: number];

/** Characters that words are drawn from, by what they test. */
const ALPHABETS: readonly (readonly Range[])[] = [
  // ASCII, with its control characters; Latin with accents, composed and combining
  [[0x20, 0x7e]],
  [
    [0x01, 0x1f],
    [0x30, 0x7f],
  ],
  [
    [0xc0, 0x17f],
    [0x300, 0x320],
  ],
  [[0x30, 0x39]],
  // emoji, flags, joiners and variations
  [
    [0x1f300, 0x1f64f],
    [0x1f900, 0x1f9ff],
    [0x2600, 0x27bf],
    [0x1f1e6, 0x1f1ff],
    [0x200d, 0x200d],
    [0xfe0f, 0xfe0f],
  ],
  // from right to left: Arabic and Hebrew with their marks, and what turns the direction
  [
    [0x620, 0x64a],
    [0x64b, 0x652],
    [0x660, 0x669],
    [0x200e, 0x200f],
  ],
  [
    [0x5d0, 0x5ea],
    [0x5b0, 0x5bc],
  ],
  // without spaces: Chinese, Japanese, Korean, Thai
  [
    [0x4e00, 0x9fa5],
    [0x3041, 0x3096],
    [0x30a1, 0x30fa],
    [0x3000, 0x3002],
  ],
  [[0xac00, 0xd7a3]],
  [
    [0xe01, 0xe2e],
    [0xe31, 0xe3a],
  ],
  [
    [0x904, 0x939],
    [0x93e, 0x94d],
  ],
  [
    [0x410, 0x44f],
    [0x391, 0x3a1],
    [0x3a3, 0x3c9],
  ],
  [[0x1d400, 0x1d454]],
  // white space
  [
    [0x20, 0x20],
    [0x09, 0x0d],
    [0xa0, 0xa0],
    [0x2000, 0x200a],
    [0x2581, 0x2581],
  ],
  // what is no text: halves of surrogate pairs (invalid UTF-8 in JavaScript), noncharacters, the replacement
  [
    [0xd800, 0xdfff],
    [0xfffd, 0xfffd],
    [0xfffe, 0xffff],
    [0x80, 0x9f],
    [0x41, 0x5a],
  ],
];

const BETWEEN = [
  " ",
  " ",
  " ",
  "  ",
  "\n",
  "\n\n",
  "\r\n",
  "\t",
  "",
  "",
  ", ",
  "'s ",
  "'LL ",
  "! ",
  "<s>",
  "</s>",
];
const WORDS = 1200;

/** A megabyte and more: prose, code, and random words of many scripts; the same every time. */
export function mixedText(prose: string): string {
  const code = ["../../src/text/bpe-run.ts", "../../src/emit/wasm-assembler.ts", "../../package.json"]
    .map((path) => readFileSync(new URL(path, import.meta.url), "utf8"))
    .join("\n");
  const rng = new Rng(7);
  const draw = <T>(list: readonly T[]): T => at(list, rng.integer(list.length));
  let words = "";
  for (const alphabet of ALPHABETS) {
    for (let i = 0; i < WORDS; i++) {
      for (let length = 1 + rng.integer(9); length > 0; length--) {
        const [first, last] = draw(alphabet);
        words += String.fromCodePoint(first + rng.integer(last - first + 1));
      }
      words += draw(BETWEEN);
    }
  }
  return prose.slice(0, 800_000) + code + words;
}
