import type { GgufMetadata } from "../files/gguf-metadata.ts";
import { isEndToken } from "./end-tokens.ts";
import { byteOfPiece, type PieceKind, type Spelling, Vocabulary } from "./vocabulary.ts";

/** What a tokenizer reads of a GGUF file's metadata. */
export type TokenizerMetadata = Pick<
  GgufMetadata,
  "file" | "has" | "string" | "stringOr" | "boolOr" | "integerOr" | "strings" | "numbersOr" | "error"
>;

const TOKENS = "tokenizer.ggml.tokens";
const TYPES = "tokenizer.ggml.token_type";
const SCORES = "tokenizer.ggml.scores";

/** What writers put for "no such token": −1 as an unsigned number. */
const NO_TOKEN = 2 ** 32 - 1;

/** By `tokenizer.ggml.token_type` (SentencePiece's numbers; 0 is "undefined"). */
const KINDS: readonly PieceKind[] = ["normal", "normal", "control", "control", "user", "unused", "byte"];

/**
 * The pieces of a GGUF file, their kinds checked and mended: chat tokens that end a turn are control tokens,
 * whatever the converter thought.
 */
export function readVocabulary(metadata: TokenizerMetadata, spelling: Spelling): Vocabulary {
  const texts = metadata.strings(TOKENS);
  if (texts.length === 0) throw metadata.error(TOKENS, "is empty");
  const types = metadata.numbersOr(TYPES, undefined);
  if (types !== undefined && types.length !== texts.length) {
    throw metadata.error(TYPES, `has ${types.length} elements for ${texts.length} tokens`);
  }
  const kinds = texts.map((text, id) => {
    const kind = types === undefined ? guessKind(text) : KINDS[types[id] as number];
    if (kind === undefined) throw metadata.error(`${TYPES}[${id}]`, `is ${types?.[id]}, not from 0 to 6`);
    if (isEndToken(text, kind)) return "control";
    return kind === "byte" && byteOfPiece(text) === undefined ? "normal" : kind;
  });
  return new Vocabulary(texts, kinds, spelling);
}

/** For files without types. */
function guessKind(text: string): PieceKind {
  if (byteOfPiece(text) !== undefined) return "byte";
  return text === "<unk>" || text === "<s>" || text === "</s>" ? "control" : "normal";
}

/** One score per token; all zero where the file has none. */
export function readScores(metadata: TokenizerMetadata, tokens: number): ArrayLike<number> {
  const scores = metadata.numbersOr(SCORES, undefined);
  if (scores === undefined) return new Float32Array(tokens);
  if (scores.length !== tokens) {
    throw metadata.error(SCORES, `has ${scores.length} elements for ${tokens} tokens`);
  }
  const wrong = scores.findIndex(Number.isNaN);
  if (wrong >= 0) throw metadata.error(`${SCORES}[${wrong}]`, "is not a number");
  return scores;
}

/** Pairs of pieces, from `"a b"` strings. */
export function readMerges(metadata: TokenizerMetadata): readonly (readonly [string, string])[] {
  const key = "tokenizer.ggml.merges";
  const merges: [string, string][] = [];
  for (const [i, merge] of metadata.strings(key).entries()) {
    const space = merge.indexOf(" ", 1);
    if (space < 0 || space === merge.length - 1) {
      throw metadata.error(`${key}[${i}]`, "is not two pieces with a space between them");
    }
    merges.push([merge.slice(0, space), merge.slice(space + 1)]);
  }
  return merges;
}

/** The id under `tokenizer.ggml.<name>_token_id`, if there is one. */
export function readTokenId(
  metadata: TokenizerMetadata,
  name: string,
  tokens: number,
  fallback?: number,
): number | undefined {
  const key = `tokenizer.ggml.${name}_token_id`;
  const id = metadata.integerOr(key, -1, NO_TOKEN, undefined);
  if (id === undefined) return fallback !== undefined && fallback < tokens ? fallback : undefined;
  if (id === -1 || id === NO_TOKEN) return undefined;
  if (id >= tokens) throw metadata.error(key, `is ${id}, but there are only ${tokens} tokens`);
  return id;
}
