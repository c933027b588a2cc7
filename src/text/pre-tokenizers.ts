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
const DIGIT = String.raw`\p{N}`;
const UP_TO_3_DIGITS = String.raw`\p{N}{1,3}`;

/** The pattern of Llama 3, Qwen 2 and their relatives, which differ in how digits are taken. */
function llama3(digits: string): string {
  const symbols = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
  return String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}|${symbols}|${SPACES}`;
}

/** The pattern of GPT-4o, which also divides words where lower case turns to upper. */
function gpt4o(digits: string, suffix: string): string {
  const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
  const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
  const before = String.raw`[^\r\n\p{L}\p{N}]?`;
  const words = `${before}${upper}*${lower}+${suffix}|${before}${upper}+${lower}*${suffix}`;
  return String.raw`${words}|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${SPACES}`;
}

const BLOOM = String.raw` ?[^(\s|.,!?…。，、।۔،)]+`;
const ASCII_SYMBOLS = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~]`;
const DEEPSEEK3 = [
  `${ASCII_SYMBOLS}[A-Za-z]+`,
  String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`,
  String.raw` ?[\p{P}\p{S}]+[\r\n]*`,
  SPACES,
].join("|");

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
  {
    names: "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    patterns: [llama3(DIGIT)],
  },
  {
    names: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    patterns: [DIGIT, GPT2_PATTERN],
  },
  { names: "falcon", patterns: [String.raw`[\p{P}\$\+<=>\^~\|${"`"}]+`, GPT2_PATTERN, "[0-9][0-9][0-9]"] },
  { names: "bloom poro-chat gpt3-finnish", patterns: [BLOOM] },
  { names: "viking", patterns: [BLOOM, DIGIT] },
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
    patterns: [UP_TO_3_DIGITS, "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3],
  },
  { names: "tekken", patterns: [gpt4o(DIGIT, "")], ignoreMerges: true, addsBos: true },
  { names: "gpt-4o llama4 kanana2 minimax-m2", patterns: [gpt4o(UP_TO_3_DIGITS, `${CONTRACTION}?`)] },
];

const BY_NAME = new Map<string, PreTokenizer>(
  FAMILIES.flatMap((family) => family.names.split(" ").map((name) => [name, family] as const)),
);

/** What `tokenizer.ggml.pre` means. Throws `UnsupportedError`, which lists the known names. */
export function preTokenizerOf(name: string, file: string): PreTokenizer {
  const found = BY_NAME.get(name);
  if (found !== undefined) return found;
  const known = [...BY_NAME.keys()].sort().join(", ");
  throw new UnsupportedError(
    `${file}: tokenizer.ggml.pre is ${quoted(name)}, which this version does not have. Known: ${known}`,
  );
}

/** A step of a `pre_tokenizer` that divides text into matches and what lies between. */
export function isolate(pattern: string): JsonObject {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

/** As the `pre_tokenizer` of a `tokenizer.json`. */
export function preTokenizerJson({ patterns }: PreTokenizer): JsonObject {
  return { type: "Sequence", pretokenizers: patterns.map(isolate) };
}
