import { CHAR_OF_BYTE } from "./byte-alphabet.ts";
import { SPACE_MARK, type Vocabulary } from "./vocabulary.ts";

/** UTF-16 units in a slice: about 10 ms of tokenizing. */
const SLICE = 16384;

/** Unicode's, as pre-tokenizers know it (the next line is missing from JavaScript's). */
const WHITE_SPACE = /[\s\u0085]/;

/**
 * Divides normalized text where tokens divide anyway, so that slices can be tokenized one by one.
 *
 * A slice ends between a character that is no space and a space. Merges cannot cross that place if no piece holds
 * the two side by side, which is looked up in the vocabulary. Pre-tokenizers divide the rest as before: in their
 * patterns a space starts a match or follows other white space, and they look one character ahead at most. (Where
 * a pattern has spaces within a match, pieces have them too, after the same characters.)
 */
export class TextSlices {
  private readonly space: string;
  /** Characters (as pieces spell them) that some piece has before a space. */
  private readonly joined = new Set<string>();

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly length = SLICE,
  ) {
    const { spelling } = vocabulary;
    this.space = spelling === "spaces" ? SPACE_MARK : " ";
    const spelled = spelling === "bytes" ? (CHAR_OF_BYTE[0x20] as string) : SPACE_MARK;
    for (const text of vocabulary.texts) {
      for (let at = text.indexOf(spelled, 1); at > 0; at = text.indexOf(spelled, at + 1)) {
        this.joined.add(text.charAt(at - 1));
      }
    }
  }

  /** The slices of a text, in order; joined they are the text. */
  *of(text: string): Generator<string> {
    let start = 0;
    while (text.length - start > this.length) {
      let end = start + this.length;
      while (end < text.length && !this.divides(text, end)) end++;
      yield text.slice(start, end);
      start = end;
    }
    if (start < text.length) yield text.slice(start);
  }

  private divides(text: string, at: number): boolean {
    if (text[at] !== this.space) return false;
    const before = text.charAt(at - 1);
    if (before === this.space || WHITE_SPACE.test(before)) return false;
    const unit = before.charCodeAt(0);
    if (unit >= 0xd800 && unit <= 0xdfff) return false;
    if (this.vocabulary.spelling !== "bytes") return !this.joined.has(before);
    const lastByte = unit < 0x80 ? unit : 0x80 | (unit & 0x3f);
    return !this.joined.has(CHAR_OF_BYTE[lastByte] as string);
  }
}
