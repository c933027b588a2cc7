import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { type AddedToken, AddedTokens } from "./added-tokens.ts";
import { BpeEncoder } from "./bpe-encoder.ts";
import { BpeMerges } from "./bpe-merges.ts";
import { BpeTokenizer, type SpacePrefix } from "./bpe-tokenizer.ts";
import { namedEndTokens } from "./end-tokens.ts";
import {
  readMerges,
  readScores,
  readTokenId,
  readVocabulary,
  type TokenizerMetadata,
} from "./gguf-vocabulary.ts";
import { preTokenizerJson, preTokenizerOf } from "./pre-tokenizers.ts";
import { scoredMerges, wordSplitter } from "./spm.ts";
import { TextSplitter } from "./text-splitter.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { SPACE_MARK, type Vocabulary } from "./vocabulary.ts";

const MODEL = "tokenizer.ggml.model";
const ADD_BOS = "tokenizer.ggml.add_bos_token";

/**
 * The tokenizer in a GGUF file, with llama.cpp's meaning of its keys: `llama` (SentencePiece BPE) and `gpt2`
 * (byte-level BPE). `add_eos_token` is not followed: texts are encoded to be continued.
 *
 * Throws `FileFormatError`, which names the key, and `UnsupportedError` for another model or pre-tokenizer.
 */
export function tokenizerFromGguf(metadata: TokenizerMetadata): Tokenizer {
  const model = metadata.string(MODEL);
  switch (model) {
    case "llama":
      return sentencePieceTokenizer(metadata);
    case "gpt2":
      return byteLevelTokenizer(metadata);
    default:
      throw new UnsupportedError(
        `${metadata.file}: ${MODEL} is ${quoted(model)}, which this version does not have. Known: gpt2, llama`,
      );
  }
}

function sentencePieceTokenizer(metadata: TokenizerMetadata): Tokenizer {
  const vocabulary = readVocabulary(metadata, "spaces");
  const { texts, kinds, size } = vocabulary;
  const markSpaces = { type: "Replace", pattern: { String: " " }, content: SPACE_MARK };
  const splitter = new TextSplitter(markSpaces, wordSplitter(texts, kinds));
  const scored = scoredMerges(texts, kinds, readScores(metadata, size));
  if (scored === undefined) throw metadata.error("tokenizer.ggml.tokens", "can be merged in too many ways");
  const merges = new BpeMerges({
    pieces: mergeable(vocabulary),
    spelling: "spaces",
    ...scored,
    byteFallback: true,
    ignoreMerges: false,
    unknownId: readTokenId(metadata, "unknown", size, 0),
    fuseUnknown: false,
  });
  const prefix: SpacePrefix = { text: SPACE_MARK, sections: "every", unlessPresent: false };
  return assemble(metadata, vocabulary, new BpeEncoder(splitter, merges), {
    prefix: metadata.boolOr("tokenizer.ggml.add_space_prefix", true) ? prefix : undefined,
    bosId: 1,
    eosId: 2,
    addsBos: true,
  });
}

function byteLevelTokenizer(metadata: TokenizerMetadata): Tokenizer {
  const vocabulary = readVocabulary(metadata, "bytes");
  const pre = preTokenizerOf(metadata.stringOr("tokenizer.ggml.pre", "default"), metadata.file);
  const merges = new BpeMerges({
    pieces: mergeable(vocabulary),
    spelling: "bytes",
    merges: readMerges(metadata),
    byteFallback: false,
    ignoreMerges: pre.ignoreMerges ?? false,
    unknownId: undefined,
    fuseUnknown: false,
  });
  const encoder = new BpeEncoder(new TextSplitter(null, preTokenizerJson(pre)), merges);
  return assemble(metadata, vocabulary, encoder, { addsBos: pre.addsBos ?? false });
}

/** Piece → id for what merging may produce, so that no text can spell a control token. */
function mergeable({ texts, kinds }: Vocabulary): Map<string, number> {
  const pieces = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    if (kinds[id] !== "control" && kinds[id] !== "unused") pieces.set(text, id);
  }
  return pieces;
}

interface Defaults {
  readonly prefix?: SpacePrefix | undefined;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly addsBos: boolean;
}

function assemble(
  metadata: TokenizerMetadata,
  vocabulary: Vocabulary,
  encoder: BpeEncoder,
  defaults: Defaults,
): Tokenizer {
  const { texts, kinds, size } = vocabulary;
  const bosId = readTokenId(metadata, "bos", size, defaults.bosId);
  const eosId = readTokenId(metadata, "eos", size, defaults.eosId);
  const declared = [
    eosId,
    readTokenId(metadata, "eot", size),
    readTokenId(metadata, "eom", size),
    ...namedEndTokens(vocabulary),
  ];
  const addsBos = metadata.boolOr(ADD_BOS, undefined);
  if (addsBos && bosId === undefined) throw metadata.error(ADD_BOS, "is true, but there is no bos_token_id");
  const added: AddedToken[] = [...vocabulary.idsOf("control"), ...vocabulary.idsOf("user")].map((id) => ({
    id,
    content: texts[id] as string,
    special: kinds[id] === "control",
  }));
  return new BpeTokenizer({
    vocabulary,
    encoder,
    addedTokens: new AddedTokens(added),
    prefix: defaults.prefix,
    bosId,
    eosId,
    eosIds: new Set(declared.filter((id) => id !== undefined)),
    addsBos: addsBos ?? (defaults.addsBos && bosId !== undefined),
  });
}
