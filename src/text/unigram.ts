import type { ByteFallback } from "./byte-fallback.ts";
import { CharTrie } from "./char-trie.ts";
import { type Segmenter, STEPS } from "./segmenter.ts";

export interface UnigramModel {
  /** Piece → id, of all pieces that text may be divided into. */
  readonly pieces: ReadonlyMap<string, number>;
  /** By id: the logarithm of a piece's probability. */
  readonly scores: ArrayLike<number>;
  /** Stands for a run of characters without a piece; without it such text is lost. */
  readonly unknownId: number | undefined;
  /** Pieces `<0x41>` that stand for bytes instead. */
  readonly bytes: ByteFallback | undefined;
}

/** How much less likely than the least likely piece an unknown character is (SentencePiece's `kUnkPenalty`). */
const UNKNOWN_PENALTY = 10;

/** UTF-16 units of a piece that is looked for, at most: a bound on what a hostile vocabulary can ask for. */
const LONGEST = 256;

/** The best division of a text's beginning, by where it ends. */
interface Divisions {
  /** Sum of scores. */
  readonly best: Float64Array;
  /** Where the last piece starts, and its id (−1: an unknown character). */
  readonly starts: Int32Array;
  readonly ids: Int32Array;
}

/** SentencePiece's unigram language model: of all divisions of a text into pieces, the likeliest (Viterbi). */
export class Unigram implements Segmenter {
  private readonly trie = new CharTrie();
  private readonly unknownScore: number;

  constructor(private readonly model: UnigramModel) {
    let least = 0;
    for (const [text, id] of model.pieces) {
      least = Math.min(least, model.scores[id] as number);
      if (text.length <= LONGEST) this.trie.insert(text, id);
    }
    this.unknownScore = least - UNKNOWN_PENALTY;
  }

  *segment(text: string): Generator<readonly [], readonly number[]> {
    const { length } = text;
    const best = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
    const divisions = { best, starts: new Int32Array(length + 1), ids: new Int32Array(length + 1) };
    best[0] = 0;
    for (let at = 0, next = STEPS; at < length; at += characterLength(text, at)) {
      this.extend(text, at, divisions);
      if (at < next) continue;
      yield [];
      next += STEPS;
    }
    return this.spell(text, divisions);
  }

  /** Every piece that starts at `at`, after the best division of what is before. */
  private extend(text: string, at: number, { best, starts, ids }: Divisions): void {
    const { trie } = this;
    const { scores } = this.model;
    const before = best[at] as number;
    const offer = (end: number, id: number, score: number) => {
      if (before + score <= (best[end] as number)) return;
      best[end] = before + score;
      starts[end] = at;
      ids[end] = id;
    };
    const character = at + characterLength(text, at);
    let known = false;
    let node = trie.child(0, text.charCodeAt(at));
    for (let end = at + 1; node >= 0; end++) {
      const id = trie.value(node);
      if (id >= 0) offer(end, id, scores[id] as number);
      known ||= id >= 0 && end === character;
      node = end < text.length ? trie.child(node, text.charCodeAt(end)) : -1;
    }
    if (!known) offer(character, -1, this.unknownScore);
  }

  private spell(text: string, { starts, ids }: Divisions): number[] {
    const ends: number[] = [];
    for (let end = text.length; end > 0; end = starts[end] as number) ends.push(end);
    const spelled: number[] = [];
    let unknown = "";
    for (const end of ends.reverse()) {
      const id = ids[end] as number;
      if (id < 0) {
        unknown += text.slice(starts[end], end);
        continue;
      }
      spelled.push(...this.unknown(unknown), id);
      unknown = "";
    }
    spelled.push(...this.unknown(unknown));
    return spelled;
  }

  private unknown(text: string): readonly number[] {
    const { bytes, unknownId } = this.model;
    if (text === "") return [];
    return bytes?.spell(text) ?? (unknownId === undefined ? [] : [unknownId]);
  }
}

/** UTF-16 units of the character at `at`. */
function characterLength(text: string, at: number): number {
  return (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
}
