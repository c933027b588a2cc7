import { CharTrie } from "./char-trie.ts";

/** A token that is found in the text as it stands, before any normalizing and merging. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Found only where special tokens are parsed. */
  readonly special: boolean;
  /** Swallows the white space before it, after it. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  /** Not found within a word. */
  readonly singleWord?: boolean;
}

/** Part of a text: an added token, or what lies between two (never empty). */
export type Section =
  | { readonly text: string; readonly token?: never }
  | { readonly token: number; readonly text?: never };

const WORD = /[\p{L}\p{N}_]/u;

/** Divides texts at added tokens: from left to right, the longest token first. */
export class AddedTokens {
  private readonly tokens: readonly AddedToken[];
  private readonly everyToken = new CharTrie();
  private readonly userTokens = new CharTrie();

  constructor(tokens: Iterable<AddedToken>) {
    this.tokens = [...tokens];
    for (const [i, { content, special }] of this.tokens.entries()) {
      if (content === "") continue;
      this.everyToken.insert(content, i);
      if (!special) this.userTokens.insert(content, i);
    }
  }

  /** @param parseSpecial find the special tokens too */
  split(text: string, parseSpecial: boolean): Section[] {
    const trie = parseSpecial ? this.everyToken : this.userTokens;
    const sections: Section[] = [];
    let start = 0;
    let position = 0;
    const flush = (end: number) => {
      if (end > start) sections.push({ text: text.slice(start, end) });
    };
    while (!trie.isEmpty && position < text.length) {
      const token = this.longestAt(trie, text, position);
      if (token === undefined) {
        position++;
        continue;
      }
      flush(token.lstrip ? start + text.slice(start, position).trimEnd().length : position);
      sections.push({ token: token.id });
      position += token.content.length;
      if (token.rstrip) position = skipSpace(text, position);
      start = position;
    }
    flush(text.length);
    return sections;
  }

  /** The text with `LITERAL_MARK` in every name of a special token (of two characters or more). */
  mark(text: string): string {
    const clean = withoutMarks(text);
    let marked = "";
    let start = 0;
    for (let position = 0; position < clean.length; position++) {
      if (!this.startsSpecial(clean, position)) continue;
      marked += clean.slice(start, position + 1) + LITERAL_MARK;
      start = position + 1;
    }
    return marked + clean.slice(start);
  }

  private longestAt(trie: CharTrie, text: string, position: number): AddedToken | undefined {
    let longest: AddedToken | undefined;
    for (const token of this.tokensAt(trie, text, position)) longest = token;
    if (!longest?.singleWord) return longest;
    const end = position + longest.content.length;
    return isWord(text, position - 1) || isWord(text, end) ? undefined : longest;
  }

  private startsSpecial(text: string, position: number): boolean {
    for (const { special, content } of this.tokensAt(this.everyToken, text, position)) {
      if (special && content.length > 1) return true;
    }
    return false;
  }

  /** The tokens that the text has at a place, from the shortest. */
  private *tokensAt(trie: CharTrie, text: string, position: number): Generator<AddedToken> {
    let node = trie.child(0, text.charCodeAt(position));
    for (let i = position + 1; node >= 0; i++) {
      const token = this.tokens[trie.value(node)];
      if (token !== undefined) yield token;
      node = i < text.length ? trie.child(node, text.charCodeAt(i)) : -1;
    }
  }
}

/** A noncharacter of Unicode, which no text should hold: `mark` puts it where a token's name is to be plain text. */
const LITERAL_MARK = "\ufdd0";

export function withoutMarks(text: string): string {
  return text.replaceAll(LITERAL_MARK, "");
}

function isWord(text: string, at: number): boolean {
  return at >= 0 && at < text.length && WORD.test(text.charAt(at));
}

function skipSpace(text: string, position: number): number {
  let end = position;
  while (end < text.length && text.charAt(end).trim() === "") end++;
  return end;
}
