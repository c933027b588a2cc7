import { UsageError } from "../base/errors.ts";
import { bytesOfSpelling } from "./byte-alphabet.ts";

/**
 * What a piece is to the tokenizer.
 *
 * - `normal`: found by merging
 * - `byte`: one byte, spelled `<0x41>`, for characters without a piece
 * - `user`: added by the model's author; found in any text before merging
 * - `control`: found only where special tokens are parsed; prints nothing
 * - `unused`: never found; prints nothing
 */
export type PieceKind = "normal" | "byte" | "user" | "control" | "unused";

/**
 * How normal pieces are spelled: bytes as GPT-2's characters, text with "▁" for a space (SentencePiece), or words
 * and parts of words, with "▁" where one starts (WordPiece).
 */
export type Spelling = "bytes" | "spaces" | "words";

/** U+2581, SentencePiece's visible space. */
export const SPACE_MARK = "▁";

const BYTE_PIECE = /^<0x([0-9A-Fa-f]{2})>$/;
const utf8 = new TextEncoder();

/** The byte that a piece such as `<0x0A>` names. */
export function byteOfPiece(text: string): number | undefined {
  const digits = BYTE_PIECE.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

/** The pieces of one model by id. */
export class Vocabulary {
  /**
   * @param texts the pieces as the file spells them
   * @param kinds as many
   */
  constructor(
    readonly texts: readonly string[],
    readonly kinds: readonly PieceKind[],
    readonly spelling: Spelling,
  ) {}

  get size(): number {
    return this.texts.length;
  }

  /** `unused` for ids past the end. Throws `UsageError` for what cannot be an id. */
  kind(id: number): PieceKind {
    if (!Number.isInteger(id) || id < 0) throw new UsageError(`${id} is not a token id`);
    return this.kinds[id] ?? "unused";
  }

  /** The text that a piece stands for, as UTF-8 (a part of a character, perhaps). Empty for ids past the end. */
  bytes(id: number): Uint8Array {
    const kind = this.kind(id);
    const text = this.texts[id] ?? "";
    if (kind === "byte") return Uint8Array.of(byteOfPiece(text) ?? 0);
    const { spelling } = this;
    if (kind === "normal" && spelling === "bytes") return bytesOfSpelling(text);
    // Gemma's author added runs of spaces, so spelled.
    const marked = kind === "normal" || (kind === "user" && spelling === "spaces");
    return utf8.encode(marked ? text.replaceAll(SPACE_MARK, " ") : text);
  }

  /** Text → id, of the pieces of some kinds; the first of equal texts. */
  idsByText(kinds: readonly PieceKind[]): Map<string, number> {
    const ids = new Map<string, number>();
    for (const [id, text] of this.texts.entries()) {
      if (kinds.includes(this.kinds[id] as PieceKind) && !ids.has(text)) ids.set(text, id);
    }
    return ids;
  }

  /** Ids of the pieces of one kind. */
  *idsOf(kind: PieceKind): Generator<number> {
    for (let id = 0; id < this.kinds.length; id++) if (this.kinds[id] === kind) yield id;
  }
}
