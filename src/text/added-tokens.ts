/** A token that is found in the text as it stands, before any normalizing and merging. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Found only where special tokens are parsed. */
  readonly special: boolean;
  /** Swallows the white space before it, after it. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

/** Part of a text: an added token, or what lies between two (never empty). */
export type Section =
  | { readonly text: string; readonly token?: never }
  | { readonly token: number; readonly text?: never };

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

/** Divides texts at added tokens: from left to right, the longest token first. */
export class AddedTokens {
  private readonly everyToken = newNode();
  private readonly userTokens = newNode();

  constructor(tokens: Iterable<AddedToken>) {
    for (const token of tokens) {
      if (token.content === "") continue;
      insert(this.everyToken, token);
      if (!token.special) insert(this.userTokens, token);
    }
  }

  /** @param parseSpecial find the special tokens too */
  split(text: string, parseSpecial: boolean): Section[] {
    const root = parseSpecial ? this.everyToken : this.userTokens;
    const sections: Section[] = [];
    let start = 0;
    let position = 0;
    const flush = (end: number) => {
      if (end > start) sections.push({ text: text.slice(start, end) });
    };
    while (root.next.size > 0 && position < text.length) {
      const token = longestAt(root, text, position);
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
      if (!startsSpecial(this.everyToken, clean, position)) continue;
      marked += clean.slice(start, position + 1) + LITERAL_MARK;
      start = position + 1;
    }
    return marked + clean.slice(start);
  }
}

/** A noncharacter of Unicode, which no text should hold: `mark` puts it where a token's name is to be plain text. */
const LITERAL_MARK = "\ufdd0";

export function withoutMarks(text: string): string {
  return text.replaceAll(LITERAL_MARK, "");
}

function newNode(): Node {
  return { next: new Map() };
}

function insert(root: Node, token: AddedToken): void {
  let node = root;
  for (let i = 0; i < token.content.length; i++) {
    const unit = token.content.charCodeAt(i);
    let next = node.next.get(unit);
    if (next === undefined) {
      next = newNode();
      node.next.set(unit, next);
    }
    node = next;
  }
  node.token = token;
}

function longestAt(root: Node, text: string, position: number): AddedToken | undefined {
  let longest: AddedToken | undefined;
  let node = root.next.get(text.charCodeAt(position));
  for (let i = position + 1; node !== undefined; i++) {
    longest = node.token ?? longest;
    node = node.next.get(text.charCodeAt(i));
  }
  return longest;
}

function startsSpecial(root: Node, text: string, position: number): boolean {
  let node = root.next.get(text.charCodeAt(position));
  for (let i = position + 1; node !== undefined; i++) {
    node = node.next.get(text.charCodeAt(i));
    if (node?.token?.special) return true;
  }
  return false;
}

function skipSpace(text: string, position: number): number {
  let end = position;
  while (end < text.length && text.charAt(end).trim() === "") end++;
  return end;
}
