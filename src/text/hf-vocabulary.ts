import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import type { AddedToken } from "./added-tokens.ts";
import { isEndToken } from "./end-tokens.ts";
import type { JsonView } from "./json-view.ts";
import { byteOfPiece, type PieceKind, type Spelling, Vocabulary } from "./vocabulary.ts";

/** The largest vocabularies have a quarter of a million tokens, and some more merges. */
const ID_LIMIT = 1 << 22;
const MERGE_LIMIT = 1 << 22;

/** What a `tokenizer.json` has under `model` and `added_tokens`. */
export interface HfVocabulary {
  readonly vocabulary: Vocabulary;
  /** Piece → id of what merging may produce: all but special tokens. */
  readonly pieces: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly addedTokens: readonly AddedToken[];
  readonly idOf: (content: string) => number | undefined;
}

export function readHfVocabulary(root: JsonView, spelling: Spelling): HfVocabulary {
  const model = readModel(root);
  const vocab = model.object("vocab");
  if (vocab === undefined) throw model.error("vocab", "is missing");
  const ids = new Map<string, number>();
  for (const [text, id] of Object.entries(vocab.json)) ids.set(text, checkId(id, vocab, quoted(text)));
  const merges = model.list("merges");
  if (merges.length > MERGE_LIMIT) throw model.error("merges", `has more than ${MERGE_LIMIT} elements`);
  const added = root.objects("added_tokens").map(readAddedToken);
  const special = new Set(added.filter((token) => token.special).map((token) => token.content));
  const pieces = new Map([...ids].filter(([text]) => !special.has(text)));
  for (const token of added) ids.set(token.content, token.id);
  return {
    vocabulary: buildVocabulary(ids, added, spelling, model.bool("byte_fallback") ?? false),
    pieces,
    merges: merges.map((merge, i) => readMerge(merge, model, i)),
    addedTokens: added,
    idOf: (content) => ids.get(content),
  };
}

function readModel(root: JsonView): JsonView {
  const model = root.object("model");
  if (model === undefined) throw root.error("model", "is missing");
  const type = model.string("type") ?? (model.get("merges") === undefined ? "unknown" : "BPE");
  if (type !== "BPE") {
    throw new UnsupportedError(`${root.file}: the tokenizer's type is ${quoted(type)}; this version has BPE`);
  }
  for (const key of ["continuing_subword_prefix", "continuing_subword_suffix", "end_of_word_suffix"]) {
    if (!model.string(key)) continue;
    throw new UnsupportedError(`${root.file}: tokenizers with model.${key} cannot be run by this version`);
  }
  return model;
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
  };
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

function buildVocabulary(
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  spelling: Spelling,
  byteFallback: boolean,
): Vocabulary {
  const size = [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0);
  const texts = new Array<string>(size).fill("");
  const kinds = new Array<PieceKind>(size).fill("unused");
  for (const [text, id] of ids) {
    texts[id] = text;
    kinds[id] = byteFallback && byteOfPiece(text) !== undefined ? "byte" : "normal";
  }
  for (const { id, content, special } of added) {
    texts[id] = content;
    kinds[id] = special ? "control" : "user";
  }
  return new Vocabulary(texts, kinds, spelling);
}
