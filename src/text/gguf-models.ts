import { BERT_PRE_TOKENIZER, normalizeForBert } from "./bert-normalizer.ts";
import { BpeMerges } from "./bpe-merges.ts";
import { BpeSegmenter } from "./bpe-segmenter.ts";
import { ByteFallback } from "./byte-fallback.ts";
import { Charsmap } from "./charsmap.ts";
import { Encoder } from "./encoder.ts";
import {
  readMerges,
  readScores,
  readTokenId,
  readVocabulary,
  type TokenizerMetadata,
} from "./gguf-vocabulary.ts";
import type { SpacePrefix } from "./piece-tokenizer.ts";
import { isolate, preTokenizerOf } from "./pre-tokenizers.ts";
import { scoredMerges, wordSplitters } from "./spm.ts";
import { MARK_SPACES, type Normalizer, TextSplitter } from "./text-splitter.ts";
import { Unigram } from "./unigram.ts";
import { type PieceKind, SPACE_MARK, type Vocabulary } from "./vocabulary.ts";
import { WordPiece } from "./wordpiece.ts";

/** A tokenizer's parts, and what llama.cpp takes where the file does not say. */
export interface GgufTokenizerModel {
  readonly vocabulary: Vocabulary;
  readonly encoder: Encoder;
  readonly prefix?: SpacePrefix | undefined;
  readonly bosId?: number | undefined;
  readonly eosId?: number | undefined;
  readonly addsBos: boolean;
  readonly addsEos?: true;
}

/** By `tokenizer.ggml.model`. */
export const GGUF_MODELS: Readonly<Record<string, (metadata: TokenizerMetadata) => GgufTokenizerModel>> = {
  bert: wordPiece,
  gemma4: mergedCharacters,
  gpt2: byteLevel,
  llama: sentencePieceBpe,
  t5: unigram,
};

const NORMAL: readonly PieceKind[] = ["normal"];
/** What merging may produce, so that no text can spell a control token. */
const MERGEABLE: readonly PieceKind[] = ["normal", "byte", "user"];

const EVERY_SECTION = { sections: "every", unlessPresent: false } as const;

function sentencePieceBpe(metadata: TokenizerMetadata): GgufTokenizerModel {
  const vocabulary = readVocabulary(metadata, "spaces");
  const { texts, kinds, size } = vocabulary;
  const scored = scoredMerges(texts, kinds, readScores(metadata, size));
  if (scored === undefined) throw metadata.error("tokenizer.ggml.tokens", "can be merged in too many ways");
  const merges = new BpeMerges({
    pieces: vocabulary.idsByText(MERGEABLE),
    spelling: "spaces",
    ...scored,
    byteFallback: true,
    ignoreMerges: false,
    unknownId: readTokenId(metadata, "unknown", size, 0),
    fuseUnknown: false,
  });
  const splitter = new TextSplitter(readNormalizers(metadata), wordSplitters(texts, kinds));
  return {
    vocabulary,
    encoder: new Encoder(splitter, new BpeSegmenter(merges)),
    prefix: metadata.boolOr("tokenizer.ggml.add_space_prefix", true)
      ? { text: SPACE_MARK, ...EVERY_SECTION }
      : undefined,
    bosId: 1,
    eosId: 2,
    addsBos: true,
  };
}

function byteLevel(metadata: TokenizerMetadata): GgufTokenizerModel {
  const pre = preTokenizerOf(metadata.stringOr("tokenizer.ggml.pre", "default"), metadata.file);
  if (pre === "characters") return mergedCharacters(metadata);
  const vocabulary = readVocabulary(metadata, "bytes");
  const merges = new BpeMerges({
    pieces: vocabulary.idsByText(MERGEABLE),
    spelling: "bytes",
    merges: readMerges(metadata),
    byteFallback: false,
    ignoreMerges: pre.ignoreMerges ?? false,
    unknownId: undefined,
    fuseUnknown: false,
  });
  const splitter = new TextSplitter([], pre.patterns.map(isolate));
  return {
    vocabulary,
    encoder: new Encoder(splitter, new BpeSegmenter(merges)),
    addsBos: pre.addsBos ?? false,
  };
}

/** Merges in an order of their own, of characters with "▁" for a space, as Gemma's `tokenizer.json` has them. */
function mergedCharacters(metadata: TokenizerMetadata): GgufTokenizerModel {
  const vocabulary = readVocabulary(metadata, "spaces");
  const { texts, kinds } = vocabulary;
  const merges = new BpeMerges({
    pieces: vocabulary.idsByText(MERGEABLE),
    spelling: "spaces",
    merges: readMerges(metadata),
    byteFallback: true,
    ignoreMerges: false,
    unknownId: undefined,
    fuseUnknown: false,
  });
  const splitter = new TextSplitter([MARK_SPACES], wordSplitters(texts, kinds));
  return { vocabulary, encoder: new Encoder(splitter, new BpeSegmenter(merges)), addsBos: true };
}

function unigram(metadata: TokenizerMetadata): GgufTokenizerModel {
  const vocabulary = readVocabulary(metadata, "spaces");
  const { texts, kinds, size } = vocabulary;
  const segmenter = new Unigram({
    pieces: vocabulary.idsByText(NORMAL),
    scores: readScores(metadata, size),
    unknownId: readTokenId(metadata, "unknown", size, 2),
    bytes: new ByteFallback(vocabulary.idsByText(["byte"])),
  });
  const splitter = new TextSplitter(readNormalizers(metadata), wordSplitters(texts, kinds));
  const prefixed = mergesSpaces(metadata) || metadata.boolOr("tokenizer.ggml.add_space_prefix", false);
  return {
    vocabulary,
    encoder: new Encoder(splitter, segmenter),
    prefix: prefixed ? { text: SPACE_MARK, ...EVERY_SECTION } : undefined,
    eosId: 1,
    addsBos: false,
    addsEos: true,
  };
}

function mergesSpaces(metadata: TokenizerMetadata): boolean {
  return metadata.boolOr("tokenizer.ggml.remove_extra_whitespaces", false);
}

/** SentencePiece's: a table of replacements, one space for several, marks for spaces. */
function readNormalizers(metadata: TokenizerMetadata): Normalizer[] {
  const merge = (text: string) => text.replace(/ +/g, " ").replace(/^ | $/g, "");
  return [...readCharsmap(metadata), ...(mergesSpaces(metadata) ? [merge] : []), MARK_SPACES];
}

function readCharsmap(metadata: TokenizerMetadata): Normalizer[] {
  const key = "tokenizer.ggml.precompiled_charsmap";
  const numbers = metadata.numbersOr(key, undefined);
  if (numbers === undefined || numbers.length === 0) return [];
  const charsmap = Charsmap.parse(Uint8Array.from(numbers));
  if (charsmap === undefined) throw metadata.error(key, "is not a table of replacements");
  return [(text) => charsmap.normalize(text)];
}

function wordPiece(metadata: TokenizerMetadata): GgufTokenizerModel {
  const vocabulary = readVocabulary(metadata, "words");
  const { size } = vocabulary;
  const segmenter = new WordPiece({
    pieces: vocabulary.idsByText(NORMAL),
    unknownId: readTokenId(metadata, "unknown", size, 100),
    longestWord: Number.POSITIVE_INFINITY,
  });
  const lowercase = metadata.boolOr("tokenizer.ggml.normalizer.lowercase", true);
  const stripAccents = metadata.boolOr("tokenizer.ggml.normalizer.strip_accents", lowercase);
  const options = { cleanText: true, chineseChars: true, lowercase, stripAccents };
  const splitter = new TextSplitter([(text) => normalizeForBert(text, options)], [BERT_PRE_TOKENIZER]);
  return {
    vocabulary,
    encoder: new Encoder(splitter, segmenter),
    prefix: { text: "", ...EVERY_SECTION },
    bosId: readTokenId(metadata, "cls", size, 101),
    // The key is spelled so.
    eosId: readTokenId(metadata, "seperator", size, 102),
    addsBos: true,
    addsEos: true,
  };
}
