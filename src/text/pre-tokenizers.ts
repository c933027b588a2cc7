import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import type { JsonObject } from "./text-splitter.ts";

/** How a family of byte-level models divides text before merging. */
export interface PreTokenizer {
  /** Each divides what the ones before it left, into its matches and what lies between (Oniguruma's syntax). */
  readonly patterns: readonly string[];
  /** A match that is a piece is taken whole, without merging. */
  readonly ignoreMerges?: true;
  /** The default where the file does not say. */
  readonly addsBos?: true;
}

/** GPT-2's own, which is also what `ByteLevel` means. */
export const GPT2_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
/** As `SPACES`, but lines end one by one. */
const SPACES_LINE = String.raw`\s*[\r\n]|\s+(?!\S)|\s+`;
/** Runs of spaces by powers of two. */
const JAIS2_SPACES = [
  String.raw`\s*[\r\n]+`,
  ...[512, 256, 128, 64, 32, 16, 8, 4].map((count) => String.raw`\s{${count}}(?!\S)`),
  String.raw`\s{1,2}(?!\S)|\s`,
].join("|");
const DIGIT = String.raw`\p{N}`;
const UP_TO_3_DIGITS = String.raw`\p{N}{1,3}`;

/** The pattern of Llama 3, Qwen 2 and their relatives, which differ in how digits and white space are taken. */
function llama3(digits: string, spaces = SPACES): string {
  const symbols = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
  return String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}|${symbols}|${spaces}`;
}

/** Words, divided where lower case turns to upper. @param of further narrows what letters are */
function casedWords(suffix: string, of = ""): string {
  const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}${of}]`;
  const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}${of}]`;
  const before = String.raw`[^\r\n\p{L}\p{N}]?`;
  return `${before}${upper}*${lower}+${suffix}|${before}${upper}+${lower}*${suffix}`;
}

/** The pattern of GPT-4o and its relatives. */
function gpt4o(digits: string, suffix = `${CONTRACTION}?`): string {
  return String.raw`${casedWords(suffix)}|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${SPACES}`;
}

/**
 * Groups of three digits, counted from the right. The bound keeps the time linear: of more digits than it allows
 * (1,023) only the last ones are grouped.
 */
function groupsOfThree(digit: string, end: string): string {
  return `${digit}{1,3}(?=(?:${digit}{3}){0,340}${end})`;
}

const NOT_A_WORD = "(?![\\p{L}\\p{N}_])";
const BLOOM = String.raw` ?[^(\s|.,!?…。，、।۔،)]+`;
const ASCII_SYMBOLS = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~]`;
const DEEPSEEK3 = [
  `${ASCII_SYMBOLS}[A-Za-z]+`,
  String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`,
  String.raw` ?[\p{P}\p{S}]+[\r\n]*`,
  SPACES,
].join("|");
/** Cased letters but for those of some scripts and of newer versions of Unicode. */
const DEEPSEEK_LETTERS =
  String.raw`[\p{Lu}\p{Ll}\p{Lt}\u0295&&[^\u0560-\u0588\u10c7-\u10ff\u1c80-\u1c8f\u2d00-\u2d2d\ua790-\ua7ff\uab30-\uab6f` +
  String.raw`\x{10570}-\x{105bf}\x{10d50}-\x{10d8f}\x{16e40}-\x{16eff}\x{1d400}-\x{1d7ff}\x{1df00}-\x{1dfff}]]`;
const IDEOGRAPHS = "\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff";
const ASIAN =
  "\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f" +
  "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff";
const LINES = String.raw`[^\n]+|\n+`;

/** Families of pre-tokenizers, each with the values of `tokenizer.ggml.pre` that mean it (after llama.cpp). */
const FAMILIES: readonly (PreTokenizer & { readonly names: string })[] = [
  {
    names: "default",
    patterns: [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2_PATTERN, String.raw`\p{N}+`, "[0-9][0-9][0-9]"],
  },
  {
    names:
      "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat mpt olmo jais " +
      "exaone4 a.x-4.0 mellum modern-bert trillion granite-docling",
    patterns: [GPT2_PATTERN],
  },
  {
    names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    patterns: [llama3(UP_TO_3_DIGITS)],
    ignoreMerges: true,
    addsBos: true,
  },
  { names: "dbrx smaug-bpe glm4 chatglm-bpe", patterns: [llama3(UP_TO_3_DIGITS)] },
  { names: "minicpm5", patterns: [UP_TO_3_DIGITS, llama3(String.raw`\p{N}+`)], ignoreMerges: true },
  { names: "jais-2", patterns: [llama3(UP_TO_3_DIGITS, JAIS2_SPACES)] },
  {
    names: "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    patterns: [llama3(DIGIT)],
  },
  { names: "laguna", patterns: [LINES, llama3(DIGIT)] },
  { names: "bailingmoe bailingmoe2 llada-moe", patterns: [llama3(DIGIT, SPACES_LINE)] },
  {
    names: "qwen35",
    patterns: [
      String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|${DIGIT}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${SPACES}`,
    ],
  },
  {
    names: "seed-coder",
    patterns: [String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?\p{L}+|${DIGIT}| ?[^\s\p{L}\p{N}\r\n]+|${SPACES}`],
  },
  {
    names: "exaone-moe",
    patterns: [
      String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|${DIGIT}|` +
        String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]?|${SPACES_LINE}`,
    ],
  },
  {
    names: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    patterns: [DIGIT, GPT2_PATTERN],
  },
  {
    names: "chameleon",
    patterns: [
      "<sentinel:[0-9]+>",
      "IMGIMG[A-I]{1,4}Z",
      String.raw`[\t\n]|    |  `,
      DIGIT,
      String.raw`[\p{P}!-/:-@\[-${"`"}{-~]`,
      GPT2_PATTERN,
    ],
    addsBos: true,
  },
  { names: "falcon", patterns: [String.raw`[\p{P}\$\+<=>\^~\|${"`"}]+`, GPT2_PATTERN, "[0-9][0-9][0-9]"] },
  { names: "bloom poro-chat gpt3-finnish", patterns: [BLOOM] },
  { names: "viking", patterns: [BLOOM, DIGIT] },
  {
    names: "deepseek-llm",
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?${DEEPSEEK_LETTERS}+`,
      String.raw`\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+`,
      String.raw`\s+$`,
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      String.raw`\p{N}+`,
    ],
  },
  {
    names: "deepseek-coder",
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?\p{L}+`,
      String.raw`\s?\p{P}+`,
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      DIGIT,
    ],
  },
  {
    names: "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    patterns: [UP_TO_3_DIGITS, `[${IDEOGRAPHS}]+`, DEEPSEEK3],
  },
  {
    names: "afmoe",
    patterns: [groupsOfThree(DIGIT, String.raw`(?!\p{N})`), `[${ASIAN}]+`, DEEPSEEK3],
  },
  {
    names: "superbpe",
    patterns: [String.raw`\p{N}+`, groupsOfThree(String.raw`\p{Nd}`, String.raw`(?!\p{Nd})`)],
  },
  { names: "tekken", patterns: [gpt4o(DIGIT, "")], ignoreMerges: true, addsBos: true },
  {
    names: "gpt-4o llama4 kanana2 minimax-m2 talkie",
    patterns: [gpt4o(UP_TO_3_DIGITS)],
  },
  { names: "granite-embed-multi-97m", patterns: [gpt4o(UP_TO_3_DIGITS)], ignoreMerges: true },
  {
    names: "tiny_aya cohere2moe",
    patterns: [groupsOfThree(String.raw`\p{Nd}`, NOT_A_WORD), gpt4o(UP_TO_3_DIGITS)],
  },
  {
    names: "youtu",
    patterns: [
      "[\uac00-\ud7a3\u3131-\u318e]+|[！…“”‘’—：；，\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" +
        `[${IDEOGRAPHS}]+`,
      gpt4o(DIGIT),
    ],
    ignoreMerges: true,
  },
  {
    names: "kimi-k2",
    patterns: [
      String.raw`\p{Script=Han}+|${casedWords(`${CONTRACTION}?`, String.raw`&&[^\p{Script=Han}]`)}|` +
        String.raw`${UP_TO_3_DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`,
    ],
  },
];

const BY_NAME = new Map<string, PreTokenizer>(
  FAMILIES.flatMap((family) => family.names.split(" ").map((name) => [name, family] as const)),
);

/** Names that mean: no division into words, and merges of characters instead of bytes. */
const OF_CHARACTERS: ReadonlySet<string> = new Set(["gemma4", "granite-embed-multi-311m", "sarvam-moe"]);

/** What `tokenizer.ggml.pre` means. Throws `UnsupportedError`, which lists the known names. */
export function preTokenizerOf(name: string, file: string): PreTokenizer | "characters" {
  if (OF_CHARACTERS.has(name)) return "characters";
  const found = BY_NAME.get(name);
  if (found !== undefined) return found;
  const known = [...BY_NAME.keys(), ...OF_CHARACTERS].sort().join(", ");
  throw new UnsupportedError(
    `${file}: tokenizer.ggml.pre is ${quoted(name)}, which this version does not have. Known: ${known}`,
  );
}

/** The value of `tokenizer.ggml.pre` that means these patterns, if there is one. */
export function preTokenizerName(patterns: readonly string[], ignoreMerges: boolean): string | undefined {
  const found = FAMILIES.find(
    (family) =>
      (family.ignoreMerges ?? false) === ignoreMerges &&
      family.patterns.length === patterns.length &&
      family.patterns.every((pattern, i) => pattern === patterns[i]),
  );
  return found?.names.split(" ")[0];
}

/** A step of a `pre_tokenizer` that divides text into matches and what lies between. */
export function isolate(pattern: string): JsonObject {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}
