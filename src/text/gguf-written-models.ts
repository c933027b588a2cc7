/** What the `model` of a `tokenizer.json` and the steps before it are in GGUF's terms. */

import { UnsupportedError } from "../base/errors.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { PackedStrings } from "../files/packed-strings.ts";
import { decodeBase64 } from "./hf-normalizers.ts";
import { flatten, type PreTokenizerParts, readPreTokenizer } from "./hf-pre-tokenizer.ts";
import { type HfModelType, readHfVocabulary } from "./hf-vocabulary.ts";
import type { JsonView } from "./json-view.ts";
import { preTokenizerName } from "./pre-tokenizers.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface GgufWrittenModel {
  readonly vocabulary: Vocabulary;
  readonly unknownId: number | undefined;
  /** Keys without `tokenizer.ggml.`, of a vocabulary that is filled up to these pieces. */
  entries(texts: readonly string[]): Readonly<Record<string, GgufValue>>;
}

type Write = (root: JsonView, model: JsonView, tokenizer: Tokenizer) => GgufWrittenModel;

/** By the type of the model. */
export const GGUF_WRITERS: Readonly<Record<HfModelType, Write>> = {
  BPE: (root, model) => {
    const parts = readPreTokenizer(root.object("pre_tokenizer"));
    return parts.byteLevel ? byteLevel(root, model, parts) : sentencePieceBpe(root, model, parts);
  },
  Unigram: unigram,
  WordPiece: wordPiece,
};

const text = (value: string): GgufValue => ({ type: "string", value });
const flag = (value: boolean): GgufValue => ({ type: "bool", value });
const id = (value: number): GgufValue => ({ type: "u32", value });
const reals = (values: Float32Array): GgufValue => ({ type: "array", of: "f32", values });

function mergesOf(model: JsonView): readonly string[] {
  return model.list("merges").map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge)));
}

function byteLevel(root: JsonView, model: JsonView, { splits }: PreTokenizerParts): GgufWrittenModel {
  const patterns = splits.map(({ pattern }) => (pattern as { Regex?: string }).Regex ?? "");
  const pre = preTokenizerName(patterns, model.bool("ignore_merges") ?? false);
  if (pre === undefined) {
    throw new UnsupportedError(
      `${root.file}: GGUF has no name for the way in which this tokenizer divides text`,
    );
  }
  const merges = PackedStrings.from(mergesOf(model));
  return {
    vocabulary: readHfVocabulary(root, model, "bytes").vocabulary,
    unknownId: undefined,
    entries: () => ({
      model: text("gpt2"),
      pre: text(pre),
      merges: { type: "array", of: "string", values: merges },
    }),
  };
}

/** Score of a piece that no merge makes: below all others. */
const LEAST_SCORE = -1e6;

function sentencePieceBpe(root: JsonView, model: JsonView, parts: PreTokenizerParts): GgufWrittenModel {
  if (model.bool("byte_fallback") !== true) {
    throw new UnsupportedError(
      `${root.file}: BPE of characters without byte fallback cannot be converted to GGUF yet`,
    );
  }
  const { vocabulary, idOf } = readHfVocabulary(root, model, "spaces");
  return {
    vocabulary,
    unknownId: idOf(model.string("unk_token") ?? "<unk>"),
    entries: (texts) => ({
      model: text("llama"),
      scores: reals(scoresOf(texts, mergesOf(model))),
      add_space_prefix: flag(isPrefixed(root, parts)),
    }),
  };
}

/** Whether a space is put before a text. */
function isPrefixed(root: JsonView, { prefix }: PreTokenizerParts): boolean {
  return prefix !== undefined || normalizersOf(root).some((step) => step.string("type") === "Prepend");
}

function normalizersOf(root: JsonView): readonly JsonView[] {
  return flatten(root.object("normalizer"), "normalizers");
}

/** Scores that make SentencePiece merge in the same order: the earlier a merge, the higher what it makes. */
function scoresOf(texts: readonly string[], merges: readonly string[]): Float32Array {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const made = merge.replace(" ", "");
    if (!ranks.has(made)) ranks.set(made, rank);
  });
  return Float32Array.from(texts, (piece) => {
    const rank = ranks.get(piece);
    return rank === undefined ? LEAST_SCORE : -rank;
  });
}

function unigram(root: JsonView, model: JsonView): GgufWrittenModel {
  const { vocabulary, scores } = readHfVocabulary(root, model, "spaces");
  const steps = [...normalizersOf(root), ...flatten(root.object("pre_tokenizer"), "pretokenizers")];
  const charsmap = steps
    .find((step) => step.string("type") === "Precompiled")
    ?.string("precompiled_charsmap");
  return {
    vocabulary,
    unknownId: model.integer("unk_id", 0, vocabulary.size - 1),
    entries: (texts) => ({
      model: text("t5"),
      scores: reals(Float32Array.from(texts, (_, piece) => scores[piece] ?? 0)),
      add_space_prefix: flag(isPrefixed(root, readPreTokenizer(root.object("pre_tokenizer")))),
      remove_extra_whitespaces: flag(steps.some(mergesSpaces)),
      ...(charsmap === undefined
        ? {}
        : {
            precompiled_charsmap: {
              type: "array",
              of: "u8",
              values: decodeBase64(charsmap) ?? new Uint8Array(0),
            } as const,
          }),
    }),
  };
}

/** Whether a step leaves one space of several. */
function mergesSpaces(step: JsonView): boolean {
  const type = step.string("type");
  if (type === "WhitespaceSplit") return true;
  return type === "Replace" && step.object("pattern")?.get("Regex") === " {2,}";
}

function wordPiece(root: JsonView, model: JsonView, { bosId, eosId }: Tokenizer): GgufWrittenModel {
  const { vocabulary, idOf } = readHfVocabulary(root, model, "words");
  const normalizer = normalizersOf(root).find((step) => step.string("type") === "BertNormalizer");
  const lowercase = normalizer?.bool("lowercase") ?? normalizer !== undefined;
  const ends = { cls: bosId, seperator: eosId };
  const named = Object.entries(ends).flatMap(([name, token]) =>
    token === undefined ? [] : [[`${name}_token_id`, id(token)] as const],
  );
  return {
    vocabulary,
    unknownId: idOf(model.string("unk_token") ?? "[UNK]"),
    entries: () => ({
      model: text("bert"),
      "normalizer.lowercase": flag(lowercase),
      "normalizer.strip_accents": flag(normalizer?.bool("strip_accents") ?? lowercase),
      ...Object.fromEntries(named),
    }),
  };
}
