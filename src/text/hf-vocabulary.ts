import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import type { AddedToken } from "./added-tokens.ts";
import { isEndToken } from "./end-tokens.ts";
import type { JsonView } from "./json-view.ts";
import { byteOfPiece, type PieceKind, SPACE_MARK, type Spelling, Vocabulary } from "./vocabulary.ts";

/** The largest vocabularies have a quarter of a million tokens. */
export const ID_LIMIT = 1 << 22;

const MODEL_TYPES = ["BPE", "Unigram", "WordPiece"] as const;

export type HfModelType = (typeof MODEL_TYPES)[number];

/** What a `tokenizer.json` has under `model.vocab` and `added_tokens`. */
export interface HfVocabulary {
  readonly vocabulary: Vocabulary;
  /** By id, of a unigram model. */
  readonly scores: Float64Array;
  readonly addedTokens: readonly AddedToken[];
  readonly idOf: (content: string) => number | undefined;
}

/** Throws `UnsupportedError` for other types. */
export function hfModelType(model: JsonView): HfModelType {
  const type = model.string("type") ?? (model.get("merges") === undefined ? "unknown" : "BPE");
  const found = MODEL_TYPES.find((known) => known === type);
  if (found !== undefined) return found;
  const known = MODEL_TYPES.join(", ");
  throw new UnsupportedError(
    `${model.file}: the tokenizer's type is ${quoted(type)}, which this version does not have. Known: ${known}`,
  );
}

export function readHfVocabulary(root: JsonView, model: JsonView, spelling: Spelling): HfVocabulary {
  const entries = hfModelType(model) === "Unigram" ? readScored(model) : readIds(model);
  const added = root.objects("added_tokens").map(readAddedToken);
  const ids = new Map(entries.map(({ text, id }) => [text, id]));
  for (const { content, id } of added) ids.set(content, id);
  const size = [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0);
  const texts = new Array<string>(size).fill("");
  const kinds = new Array<PieceKind>(size).fill("unused");
  const scores = new Float64Array(size);
  const byteFallback = model.bool("byte_fallback") ?? false;
  const start = model.string("continuing_subword_prefix") ?? "##";
  for (const { text, id, score } of entries) {
    texts[id] = spelling === "words" ? markWord(text, start) : text;
    kinds[id] = byteFallback && byteOfPiece(text) !== undefined ? "byte" : "normal";
    scores[id] = score;
  }
  for (const { id, content, special } of added) {
    texts[id] = content;
    kinds[id] = special ? "control" : "user";
  }
  const vocabulary = new Vocabulary(texts, kinds, spelling);
  return { vocabulary, scores, addedTokens: added, idOf: (content) => ids.get(content) };
}

interface Entry {
  readonly text: string;
  readonly id: number;
  readonly score: number;
}

function readIds(model: JsonView): readonly Entry[] {
  const vocab = model.object("vocab");
  if (vocab === undefined) throw model.error("vocab", "is missing");
  return Object.entries(vocab.json).map(([text, id]) => {
    return { text, id: checkId(id, vocab, quoted(text)), score: 0 };
  });
}

/** Pairs of piece and score; the place is the id. */
function readScored(model: JsonView): readonly Entry[] {
  const vocab = model.list("vocab");
  if (vocab.length === 0) throw model.error("vocab", "is empty");
  if (vocab.length > ID_LIMIT) throw model.error("vocab", `has more than ${ID_LIMIT} elements`);
  return vocab.map((entry, id) => {
    const [text, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof text === "string" && typeof score === "number") return { text, id, score };
    throw model.error(`vocab[${id}]`, "is not a piece and its score");
  });
}

/** As GGUF files spell WordPiece: a mark before what starts a word, and none before what goes on with it. */
function markWord(text: string, continuing: string): string {
  return continuing !== "" && text.startsWith(continuing) ? text.slice(continuing.length) : SPACE_MARK + text;
}

function checkId(id: unknown, view: JsonView, key: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < ID_LIMIT) return id;
  throw view.error(key, `is not a token id (a whole number below ${ID_LIMIT})`);
}

function readAddedToken(token: JsonView): AddedToken {
  const content = token.string("content");
  if (content === undefined) throw token.error("content", "is missing");
  const kind = token.bool("special") ? "control" : "user";
  return {
    id: checkId(token.get("id"), token, "id"),
    content,
    special: kind === "control" || isEndToken(content, kind),
    lstrip: token.bool("lstrip") ?? false,
    rstrip: token.bool("rstrip") ?? false,
    singleWord: token.bool("single_word") ?? false,
  };
}
