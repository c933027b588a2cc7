import type { JsonObject } from "./text-splitter.ts";
import { type PieceKind, SPACE_MARK } from "./vocabulary.ts";

/** SentencePiece's merges in the order of a `tokenizer.json`. */
export interface ScoredMerges {
  readonly merges: readonly (readonly [string, string])[];
  /** `ranks[i]` is the same for merges of equal score, else rises. */
  readonly ranks: Int32Array;
}

/** Bounds on what a hostile vocabulary can ask for: UTF-16 units of a piece that takes part in merging, and merges. */
const LONGEST = 256;
const MOST_MERGES = 1 << 21;

/**
 * The merges of a SentencePiece BPE vocabulary. It has none: any two neighbours that together are a piece may be
 * merged, the piece of the highest score first, of equals the leftmost. So each piece gives one merge for every
 * way to divide it into two parts that can occur: pieces or single characters.
 *
 * Only `normal` and `user` pieces are merged, so that text cannot spell a control token.
 *
 * @param scores one per piece, not NaN
 * @returns `undefined` if there are more than two million, several times what a quarter of a million pieces give
 */
export function scoredMerges(
  texts: readonly string[],
  kinds: readonly PieceKind[],
  scores: ArrayLike<number>,
): ScoredMerges | undefined {
  const scoreOf = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    const merged = kinds[id] === "normal" || kinds[id] === "user";
    if (merged && text.length <= LONGEST) scoreOf.set(text, scores[id] as number);
  }
  const found: { readonly pair: readonly [string, string]; readonly score: number }[] = [];
  for (const [text, score] of scoreOf) {
    for (const pair of divisions(text)) {
      if (pair.every((part) => scoreOf.has(part) || isOneCharacter(part))) found.push({ pair, score });
    }
    if (found.length > MOST_MERGES) return undefined;
  }
  found.sort((a, b) => (a.score === b.score ? 0 : a.score < b.score ? 1 : -1));
  const ranks = new Int32Array(found.length);
  for (let i = 1; i < found.length; i++) {
    ranks[i] = found[i]?.score === found[i - 1]?.score ? (ranks[i - 1] as number) : i;
  }
  return { merges: found.map(({ pair }) => pair), ranks };
}

/** Every way to divide a text into two, between characters. */
function* divisions(text: string): Generator<readonly [string, string]> {
  for (let i = 1; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const midCharacter = unit >= 0xdc00 && unit <= 0xdfff;
    if (!midCharacter) yield [text.slice(0, i), text.slice(i)];
  }
}

function isOneCharacter(text: string): boolean {
  return text.length === String.fromCodePoint(text.codePointAt(0) ?? 0).length;
}

/** Characters that pieces have before a space, at most, for words to be found by a pattern. */
const MOST_JOINED = 64;

/**
 * A pre-tokenizer that changes no result and makes merging fast (short pre-tokens are cached). Words, with the spaces
 * before them, can be merged one by one, but for those that end with a character that some piece has before a space:
 * these stay together with the next. None if words end with too many such characters: the text is merged whole.
 */
export function wordSplitters(texts: readonly string[], kinds: readonly PieceKind[]): readonly JsonObject[] {
  const joined = new Set<string>();
  const crossing = new RegExp(`[^${SPACE_MARK}](?=${SPACE_MARK})`, "gu");
  for (const [id, text] of texts.entries()) {
    if (kinds[id] !== "normal" && kinds[id] !== "user") continue;
    for (const [character] of text.matchAll(crossing)) joined.add(character);
    if (joined.size > MOST_JOINED) return [];
  }
  const set = Array.from(joined, (character) => `\\x{${character.codePointAt(0)?.toString(16)}}`).join("");
  const more = set === "" ? "" : `(?:(?<=[${set}])${SPACE_MARK}+[^${SPACE_MARK}]*)*`;
  const Regex = `${SPACE_MARK}*[^${SPACE_MARK}]*${more}`;
  return [{ type: "Split", pattern: { Regex }, behavior: "Removed", invert: true }];
}
