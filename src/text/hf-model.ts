import { UnsupportedError } from "../base/errors.ts";
import { BpeMerges } from "./bpe-merges.ts";
import { BpeSegmenter } from "./bpe-segmenter.ts";
import { ByteFallback } from "./byte-fallback.ts";
import { type HfVocabulary, hfModelType, ID_LIMIT } from "./hf-vocabulary.ts";
import type { JsonView } from "./json-view.ts";
import type { Segmenter } from "./segmenter.ts";
import { Unigram } from "./unigram.ts";
import type { PieceKind } from "./vocabulary.ts";
import { WordPiece } from "./wordpiece.ts";

/** The largest vocabularies have half a million merges. */
const MERGE_LIMIT = 1 << 22;
/** Characters of a word that BERT divides into pieces. */
const LONGEST_WORD = 100;
/** What text may be divided into: not what only special tokens are. */
const PIECES: readonly PieceKind[] = ["normal", "user"];

/** The `model` of a `tokenizer.json`: how pre-tokens become ids. */
export function readSegmenter(model: JsonView, found: HfVocabulary): Segmenter {
  switch (hfModelType(model)) {
    case "BPE":
      return readBpe(model, found);
    case "Unigram":
      return readUnigram(model, found);
    case "WordPiece":
      return readWordPiece(model, found);
  }
}

function readBpe(model: JsonView, { vocabulary, idOf }: HfVocabulary): Segmenter {
  for (const key of ["continuing_subword_prefix", "continuing_subword_suffix", "end_of_word_suffix"]) {
    if (!model.string(key)) continue;
    throw new UnsupportedError(`${model.file}: tokenizers with model.${key} cannot be run by this version`);
  }
  const merges = model.list("merges");
  if (merges.length > MERGE_LIMIT) throw model.error("merges", `has more than ${MERGE_LIMIT} elements`);
  const unknown = model.string("unk_token");
  return new BpeSegmenter(
    new BpeMerges({
      pieces: vocabulary.idsByText([...PIECES, "byte"]),
      spelling: vocabulary.spelling,
      merges: merges.map((merge, i) => readMerge(merge, model, i)),
      byteFallback: model.bool("byte_fallback") ?? false,
      ignoreMerges: model.bool("ignore_merges") ?? false,
      unknownId: unknown === undefined ? undefined : idOf(unknown),
      fuseUnknown: model.bool("fuse_unk") ?? false,
    }),
  );
}

/** A pair, as such or as `"a b"`. */
function readMerge(merge: unknown, model: JsonView, i: number): readonly [string, string] {
  const pair = typeof merge === "string" ? merge.split(" ") : merge;
  if (Array.isArray(pair) && pair.length === 2) {
    const [left, right] = pair as unknown[];
    if (typeof left === "string" && typeof right === "string" && left && right) return [left, right];
  }
  throw model.error(`merges[${i}]`, "is not a pair of pieces");
}

function readUnigram(model: JsonView, { vocabulary, scores }: HfVocabulary): Segmenter {
  const fallback = model.bool("byte_fallback") ?? false;
  return new Unigram({
    pieces: vocabulary.idsByText(PIECES),
    scores,
    unknownId: model.integer("unk_id", 0, Math.min(vocabulary.size, ID_LIMIT) - 1),
    bytes: fallback ? new ByteFallback(vocabulary.idsByText(["byte"])) : undefined,
  });
}

function readWordPiece(model: JsonView, { vocabulary, idOf }: HfVocabulary): Segmenter {
  return new WordPiece({
    pieces: vocabulary.idsByText(PIECES),
    unknownId: idOf(model.string("unk_token") ?? "[UNK]"),
    longestWord: model.integer("max_input_chars_per_word", 0, Number.MAX_SAFE_INTEGER) ?? LONGEST_WORD,
  });
}
