import type { JsonObject } from "./text-splitter.ts";

export interface BertNormalizerOptions {
  /** Drop control characters; make white space spaces. */
  readonly cleanText: boolean;
  /** Put spaces around ideographs. */
  readonly chineseChars: boolean;
  readonly stripAccents: boolean;
  readonly lowercase: boolean;
}

/** Divides at white space and around punctuation. */
export const BERT_PRE_TOKENIZER: JsonObject = { type: "BertPreTokenizer" };

const DROPPED = /[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu;
/** The blocks that BERT's own code names. */
const IDEOGRAPHS =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/**
 * BERT's normalizer. Our own because the library's drops vowel signs of Indic scripts with the accents.
 */
export function normalizeForBert(text: string, options: BertNormalizerOptions): string {
  let normal = text;
  if (options.cleanText) normal = normal.replace(DROPPED, "").replace(/\s/gu, " ");
  if (options.chineseChars) normal = normal.replace(IDEOGRAPHS, " $& ");
  if (options.stripAccents) normal = normal.normalize("NFD").replace(/\p{Mn}/gu, "");
  return options.lowercase ? lowercase(normal) : normal;
}

/** Character by character: JavaScript's own looks at the end of the word for a sigma. */
export function lowercase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}
