import { CHAR_OF_BYTE } from "./byte-alphabet.ts";
import { ByteFallback } from "./byte-fallback.ts";
import type { Spelling } from "./vocabulary.ts";

export interface BpeModel {
  /** Piece → id, of all pieces that encoding may give. */
  readonly pieces: ReadonlyMap<string, number>;
  readonly spelling: Spelling;
  /** Pairs of pieces (or single characters), the first to be merged first. */
  readonly merges: readonly (readonly [string, string])[];
  /** `ranks[i]` orders `merges[i]`, below 2^22; equals are merged from left to right. Default: `i`. */
  readonly ranks?: ArrayLike<number>;
  /** Spell characters without a piece as `<0x41>` pieces. */
  readonly byteFallback: boolean;
  /** Take a pre-token that is a piece whole. */
  readonly ignoreMerges: boolean;
  /** Stands for what has no piece at all; without it such text is lost. */
  readonly unknownId: number | undefined;
  /** One unknown token for a run of them. */
  readonly fuseUnknown: boolean;
}

const utf8 = new TextEncoder();

/**
 * The tables of a byte-pair encoding. Merging works on symbols: ids of pieces, and above them numbers for single
 * characters that have no piece but occur in merges.
 */
export class BpeMerges {
  /** Of a byte-level vocabulary: id of the piece for each byte, −1 where there is none. */
  private readonly byteIds: Int32Array;
  private readonly byteFallback: ByteFallback | undefined;
  private readonly symbols: Map<string, number>;
  /** Ids are below this. */
  private readonly firstSymbol: number;
  private readonly stride: number;
  /** `left · stride + right` → index of the merge. */
  private readonly table = new Map<number, number>();
  private readonly rankOf: Int32Array;
  private readonly resultOf: Int32Array;
  private readonly longestPiece: number;

  constructor(readonly model: BpeModel) {
    const { pieces, merges, ranks } = model;
    let longest = 0;
    let next = 0;
    for (const [text, id] of pieces) {
      longest = Math.max(longest, text.length);
      next = Math.max(next, id + 1);
    }
    this.longestPiece = longest;
    this.firstSymbol = next;
    this.symbols = new Map(pieces);
    for (const part of merges.flat()) if (!this.symbols.has(part)) this.symbols.set(part, next++);
    this.stride = next;
    this.rankOf = Int32Array.from(merges, (_, i) => ranks?.[i] ?? i);
    this.resultOf = Int32Array.from(merges, ([left, right]) => pieces.get(left + right) ?? -1);
    for (const [i, [left, right]] of merges.entries()) {
      const key = this.key(this.symbols.get(left) as number, this.symbols.get(right) as number);
      if (this.resultOf[i] !== -1 && !this.table.has(key)) this.table.set(key, i);
    }
    this.byteIds = Int32Array.from(CHAR_OF_BYTE, (char) => pieces.get(char) ?? -1);
    const fallback = model.byteFallback && model.spelling === "spaces";
    this.byteFallback = fallback ? new ByteFallback(pieces) : undefined;
  }

  private key(left: number, right: number): number {
    return left * this.stride + right;
  }

  /** The merge of two neighbouring symbols, −1 if there is none. */
  find(left: number, right: number): number {
    return left < 0 || right < 0 ? -1 : (this.table.get(this.key(left, right)) ?? -1);
  }

  rank(merge: number): number {
    return this.rankOf[merge] as number;
  }

  result(merge: number): number {
    return this.resultOf[merge] as number;
  }

  /** The id of a pre-token that is taken whole, if it is. */
  whole(preToken: string): number | undefined {
    const { pieces, ignoreMerges, spelling } = this.model;
    if (!ignoreMerges || preToken.length > this.longestPiece) return undefined;
    if (spelling === "spaces") return pieces.get(preToken);
    return pieces.get(Array.from(utf8.encode(preToken), (byte) => CHAR_OF_BYTE[byte]).join(""));
  }

  /** What a pre-token is before any merge: bytes or characters. −1 stands for what has no symbol. */
  symbolsOf(preToken: string): Int32Array {
    if (this.model.spelling === "spaces") {
      return Int32Array.from(Array.from(preToken), (char) => this.symbols.get(char) ?? -1);
    }
    const bytes = utf8.encode(preToken);
    const symbols = new Int32Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) symbols[i] = this.byteIds[bytes[i] as number] as number;
    return symbols;
  }

  /** The ids for a symbol that stayed alone, appended to `ids`. @param text what the symbol stands for */
  spell(symbol: number, text: string, ids: number[]): void {
    if (symbol >= 0 && symbol < this.firstSymbol) {
      ids.push(symbol);
      return;
    }
    const { unknownId, fuseUnknown } = this.model;
    const bytes = this.byteFallback?.spell(text);
    if (bytes !== undefined) {
      ids.push(...bytes);
      return;
    }
    if (unknownId === undefined || (fuseUnknown && ids.at(-1) === unknownId)) return;
    ids.push(unknownId);
  }
}
