/** The tokenizer of a GGUF file as the files of a Hugging Face folder. */

import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { expectSameIds } from "./compared-tokenizers.ts";
import { readVocabulary, type TokenizerMetadata } from "./gguf-vocabulary.ts";
import { tokenizerFromHuggingFace } from "./hf-tokenizer.ts";
import { HF_MODELS } from "./hf-written-models.ts";
import type { JsonObject } from "./text-splitter.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** `tokenizer.json` and `tokenizer_config.json`. */
export interface HuggingFaceTokenizer {
  readonly tokenizer: JsonObject;
  readonly config: JsonObject;
}

/**
 * Writes down a tokenizer; that of the model `llama` with the merges that SentencePiece's scores mean. Throws
 * `UnsupportedError` for one that would divide text otherwise then.
 */
export function huggingFaceTokenizer(
  metadata: TokenizerMetadata,
  tokenizer: Tokenizer,
  chatTemplate: string | undefined,
): HuggingFaceTokenizer {
  const model = metadata.string("tokenizer.ggml.model");
  const written = Object.hasOwn(HF_MODELS, model) ? HF_MODELS[model] : undefined;
  if (written === undefined) {
    const known = Object.keys(HF_MODELS).join(", ");
    throw new UnsupportedError(
      `${metadata.file}: tokenizers of the model ${quoted(model)} cannot be written as tokenizer.json; known: ${known}`,
    );
  }
  const vocabulary = readVocabulary(metadata, written.spelling);
  const nameOf = (id: number | undefined) => (id === undefined ? null : (vocabulary.texts[id] ?? null));
  const [bos, eos] = [tokenizer.bosId, tokenizer.eosId];
  const files = {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      ...written.parts(metadata, vocabulary),
      post_processor: template(
        vocabulary,
        tokenizer.addsBos ? bos : undefined,
        tokenizer.addsEos ? eos : undefined,
      ),
    },
    config: {
      add_bos_token: tokenizer.addsBos,
      add_eos_token: tokenizer.addsEos,
      bos_token: nameOf(bos),
      eos_token: nameOf(eos),
      clean_up_tokenization_spaces: false,
      tokenizer_class: "PreTrainedTokenizerFast",
      ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
    },
  };
  expectSameIds(metadata.file, tokenizer, tokenizerFromHuggingFace({ folder: metadata.file, ...files }));
  return files;
}

function addedTokens({ texts, kinds }: Vocabulary): readonly JsonObject[] {
  return texts.flatMap((content, id) => {
    if (kinds[id] !== "control" && kinds[id] !== "user") return [];
    const special = kinds[id] === "control";
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

/** The tokens that start and end a text, around it. */
function template(
  { texts }: Vocabulary,
  bos: number | undefined,
  eos: number | undefined,
): JsonObject | null {
  const named = (id: number | undefined) => (id === undefined ? [] : [{ id, name: texts[id] ?? "" }]);
  const [before, after] = [named(bos), named(eos)];
  if (before.length + after.length === 0) return null;
  const around = (id: string, type_id: number) => [
    ...before.map(({ name }) => ({ SpecialToken: { id: name, type_id } })),
    { Sequence: { id, type_id } },
    ...after.map(({ name }) => ({ SpecialToken: { id: name, type_id } })),
  ];
  const tokens = [...before, ...after].map(
    ({ id, name }) => [name, { id: name, ids: [id], tokens: [name] }] as const,
  );
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(tokens),
  };
}
