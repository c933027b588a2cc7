/** The parts of a `tokenizer.json` that a tokenizer of a GGUF file means. */

import { BERT_PRE_TOKENIZER } from "./bert-normalizer.ts";
import { readMerges, readScores, readTokenId, type TokenizerMetadata } from "./gguf-vocabulary.ts";
import { isolate, preTokenizerOf } from "./pre-tokenizers.ts";
import { scoredMerges } from "./spm.ts";
import { type JsonObject, MARK_SPACES } from "./text-splitter.ts";
import { SPACE_MARK, type Spelling, type Vocabulary } from "./vocabulary.ts";

export interface HfWrittenModel {
  readonly spelling: Spelling;
  /** `normalizer`, `pre_tokenizer`, `decoder` and `model`. */
  parts(metadata: TokenizerMetadata, vocabulary: Vocabulary): JsonObject;
}

/** By `tokenizer.ggml.model`. */
export const HF_MODELS: Readonly<Record<string, HfWrittenModel>> = {
  gpt2: { spelling: "bytes", parts: byteLevel },
  llama: { spelling: "spaces", parts: sentencePieceBpe },
  t5: { spelling: "spaces", parts: unigram },
  bert: { spelling: "words", parts: wordPiece },
  gemma4: { spelling: "spaces", parts: mergedCharacters },
};

function idsOf(texts: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(texts.map((text, id) => [text, id]));
}

const normalizers = (steps: readonly JsonObject[]): JsonObject => ({ type: "Sequence", normalizers: steps });

function byteLevel(metadata: TokenizerMetadata, vocabulary: Vocabulary): JsonObject {
  const pre = preTokenizerOf(metadata.stringOr("tokenizer.ggml.pre", "default"), metadata.file);
  if (pre === "characters") return mergedCharacters(metadata, vocabulary);
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...pre.patterns.map(isolate), bytes] },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: null,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges ?? false,
      vocab: idsOf(vocabulary.texts),
      merges: readMerges(metadata).map((pair) => pair.join(" ")),
    },
  };
}

function mergedCharacters(metadata: TokenizerMetadata, { texts }: Vocabulary): JsonObject {
  return spaced(false, { unk_token: null, vocab: idsOf(texts), merges: readMerges(metadata) });
}

/** BPE of characters, with bytes for those that have no piece. */
function spaced(prefixed: boolean, model: JsonObject): JsonObject {
  return {
    normalizer: normalizers([...(prefixed ? [PREPEND] : []), MARK_SPACES]),
    pre_tokenizer: null,
    decoder: decoder(prefixed),
    model: { type: "BPE", fuse_unk: true, byte_fallback: true, ignore_merges: false, ...model },
  };
}

const PREPEND: JsonObject = { type: "Prepend", prepend: SPACE_MARK };

/** What the Python library writes for Llama 2. */
function sentencePieceBpe(metadata: TokenizerMetadata, { texts, kinds, size }: Vocabulary): JsonObject {
  const scored = scoredMerges(texts, kinds, readScores(metadata, size));
  if (scored === undefined) throw metadata.error("tokenizer.ggml.tokens", "can be merged in too many ways");
  const prefixed = metadata.boolOr("tokenizer.ggml.add_space_prefix", true);
  const unknown = readTokenId(metadata, "unknown", size, 0);
  const unk_token = unknown === undefined ? null : texts[unknown];
  return spaced(prefixed, { unk_token, vocab: idsOf(texts), merges: scored.merges });
}

function decoder(prefixed: boolean): JsonObject {
  return {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: SPACE_MARK }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      ...(prefixed ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
    ],
  };
}

const replaced = (Regex: string, content: string): JsonObject => ({
  type: "Replace",
  pattern: { Regex },
  content,
});

function unigram(metadata: TokenizerMetadata, { texts, kinds, size }: Vocabulary): JsonObject {
  const charsmap = metadata.numbersOr("tokenizer.ggml.precompiled_charsmap", undefined) ?? [];
  const merges = metadata.boolOr("tokenizer.ggml.remove_extra_whitespaces", false);
  const prefixed = merges || metadata.boolOr("tokenizer.ggml.add_space_prefix", false);
  const scores = readScores(metadata, size);
  return {
    normalizer: normalizers([
      ...(charsmap.length > 0 ? [{ type: "Precompiled", precompiled_charsmap: base64(charsmap) }] : []),
      ...(merges ? [replaced("^ +| +$", ""), replaced(" {2,}", " ")] : []),
      ...(prefixed ? [PREPEND] : []),
      MARK_SPACES,
    ]),
    pre_tokenizer: null,
    decoder: decoder(prefixed),
    model: {
      type: "Unigram",
      unk_id: readTokenId(metadata, "unknown", size, 2) ?? null,
      byte_fallback: kinds.includes("byte"),
      vocab: texts.map((text, id) => [text, scores[id]]),
    },
  };
}

function base64(bytes: ArrayLike<number>): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** What goes on with a word, in a `tokenizer.json`. */
const CONTINUING = "##";
/** Characters of a word that is divided: GGUF knows no bound. */
const LONGEST_WORD = 2 ** 31 - 1;

function wordPiece(metadata: TokenizerMetadata, { texts, kinds, size }: Vocabulary): JsonObject {
  const lowercase = metadata.boolOr("tokenizer.ggml.normalizer.lowercase", true);
  const spelled = texts.map((text, id) => {
    if (kinds[id] !== "normal") return text;
    return text.startsWith(SPACE_MARK) ? text.slice(SPACE_MARK.length) : CONTINUING + text;
  });
  return {
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      lowercase,
      strip_accents: metadata.boolOr("tokenizer.ggml.normalizer.strip_accents", lowercase),
    },
    pre_tokenizer: BERT_PRE_TOKENIZER,
    decoder: { type: "WordPiece", prefix: CONTINUING, cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: texts[readTokenId(metadata, "unknown", size, 100) ?? -1] ?? null,
      continuing_subword_prefix: CONTINUING,
      max_input_chars_per_word: LONGEST_WORD,
      vocab: idsOf(spelled),
    },
  };
}
