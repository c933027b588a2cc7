/** The tokenizer of a GGUF file as the files of a Hugging Face folder. */

import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { readMerges, readScores, readVocabulary, type TokenizerMetadata } from "./gguf-vocabulary.ts";
import { isolate, preTokenizerOf } from "./pre-tokenizers.ts";
import { scoredMerges } from "./spm.ts";
import type { JsonObject } from "./text-splitter.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { SPACE_MARK, type Vocabulary } from "./vocabulary.ts";

/** `tokenizer.json` and `tokenizer_config.json`. */
export interface HuggingFaceTokenizer {
  readonly tokenizer: JsonObject;
  readonly config: JsonObject;
}

/**
 * Writes down the tokenizer of the models `gpt2` and `llama`; for the latter with the merges that SentencePiece's scores
 * mean. Throws `UnsupportedError` for the others.
 */
export function huggingFaceTokenizer(
  metadata: TokenizerMetadata,
  tokenizer: Tokenizer,
  chatTemplate: string | undefined,
): HuggingFaceTokenizer {
  const model = metadata.string("tokenizer.ggml.model");
  if (model !== "gpt2" && model !== "llama") {
    throw new UnsupportedError(
      `${metadata.file}: tokenizers of the model ${quoted(model)} cannot be converted to tokenizer.json yet`,
    );
  }
  const vocabulary = readVocabulary(metadata, model === "gpt2" ? "bytes" : "spaces");
  const parts = model === "gpt2" ? byteLevel(metadata, vocabulary) : sentencePiece(metadata, vocabulary);
  const nameOf = (id: number | undefined) => (id === undefined ? null : (vocabulary.texts[id] ?? null));
  const bos = tokenizer.addsBos ? nameOf(tokenizer.bosId) : null;
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      ...parts,
      post_processor: bos === null ? null : template(bos, tokenizer.bosId as number),
    },
    config: {
      add_bos_token: tokenizer.addsBos,
      add_eos_token: tokenizer.addsEos,
      bos_token: nameOf(tokenizer.bosId),
      eos_token: nameOf(tokenizer.eosId),
      clean_up_tokenization_spaces: false,
      tokenizer_class: "PreTrainedTokenizerFast",
      ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
    },
  };
}

function idsOf({ texts }: Vocabulary): Readonly<Record<string, number>> {
  return Object.fromEntries(texts.map((text, id) => [text, id]));
}

function addedTokens({ texts, kinds }: Vocabulary): readonly JsonObject[] {
  return texts.flatMap((content, id) => {
    if (kinds[id] !== "control" && kinds[id] !== "user") return [];
    const special = kinds[id] === "control";
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

/** The token that starts a text, before it. */
function template(bos: string, id: number): JsonObject {
  const start = { SpecialToken: { id: bos, type_id: 0 } };
  const text = { Sequence: { id: "A", type_id: 0 } };
  const second = { Sequence: { id: "B", type_id: 1 } };
  return {
    type: "TemplateProcessing",
    single: [start, text],
    pair: [start, text, start, second],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  };
}

function byteLevel(metadata: TokenizerMetadata, vocabulary: Vocabulary): JsonObject {
  const pre = preTokenizerOf(metadata.stringOr("tokenizer.ggml.pre", "default"), metadata.file);
  if (pre === "characters") {
    throw new UnsupportedError(
      `${metadata.file}: BPE of characters cannot be converted to tokenizer.json yet`,
    );
  }
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
      vocab: idsOf(vocabulary),
      merges: readMerges(metadata).map((pair) => pair.join(" ")),
    },
  };
}

/** What the Python library writes for Llama 2. */
function sentencePiece(metadata: TokenizerMetadata, vocabulary: Vocabulary): JsonObject {
  const { texts, kinds, size } = vocabulary;
  const scored = scoredMerges(texts, kinds, readScores(metadata, size));
  if (scored === undefined) throw metadata.error("tokenizer.ggml.tokens", "can be merged in too many ways");
  const marks = { type: "Replace", pattern: { String: " " }, content: SPACE_MARK };
  const prefixed = metadata.boolOr("tokenizer.ggml.add_space_prefix", true);
  const unknown = texts[metadata.integerOr("tokenizer.ggml.unknown_token_id", 0, size - 1, 0)];
  return {
    normalizer: {
      type: "Sequence",
      normalizers: [...(prefixed ? [{ type: "Prepend", prepend: SPACE_MARK }] : []), marks],
    },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE_MARK }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefixed ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: idsOf(vocabulary),
      merges: scored.merges,
    },
  };
}
