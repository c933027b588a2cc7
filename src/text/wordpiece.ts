import { CharTrie } from "./char-trie.ts";
import { type Segmenter, STEPS } from "./segmenter.ts";
import { SPACE_MARK } from "./vocabulary.ts";

export interface WordPieceModel {
  /** Piece → id, with "▁" before pieces that start a word. */
  readonly pieces: ReadonlyMap<string, number>;
  /** Stands for a word that cannot be divided into pieces; without it such words are lost. */
  readonly unknownId: number | undefined;
  /** Characters of a word that is divided at all. */
  readonly longestWord: number;
}

/** UTF-16 units of a piece that is looked for, at most: a bound on what a hostile vocabulary can ask for. */
const LONGEST = 256;

/** BERT's division of words: the longest piece first, then the longest that goes on from there. */
export class WordPiece implements Segmenter {
  private readonly trie = new CharTrie();

  constructor(private readonly model: WordPieceModel) {
    for (const [text, id] of model.pieces) if (text.length <= LONGEST) this.trie.insert(text, id);
  }

  *segment(word: string): Generator<readonly [], readonly number[]> {
    const { longestWord, unknownId } = this.model;
    const unknown = unknownId === undefined ? [] : [unknownId];
    if (word.length > longestWord && Array.from(word).length > longestWord) return unknown;
    const ids: number[] = [];
    const marked = SPACE_MARK + word;
    for (let at = 0, next = STEPS; at < marked.length; ) {
      const { id, end } = this.longestAt(marked, at);
      if (id < 0) return unknown;
      ids.push(id);
      at = end;
      if (at < next) continue;
      yield [];
      next += STEPS;
    }
    return ids;
  }

  private longestAt(text: string, at: number): { readonly id: number; readonly end: number } {
    let longest = { id: -1, end: at };
    let node = this.trie.child(0, text.charCodeAt(at));
    for (let end = at + 1; node >= 0; end++) {
      const id = this.trie.value(node);
      if (id >= 0) longest = { id, end };
      node = end < text.length ? this.trie.child(node, text.charCodeAt(end)) : -1;
    }
    return longest;
  }
}
