import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { UsageError } from "../base/errors.ts";

/** A part of a `tokenizer.json`, such as `{ type: "NFC" }`. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What is used of the library's objects; its own declarations do not resolve under NodeNext. */
interface Library {
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: ((text: string) => string[]) | null;
}

/**
 * Normalizer and pre-tokenizer of a Hugging Face `tokenizer.json`, run by `@huggingface/tokenizers` (which knows
 * their many types and translates Oniguruma's regular expressions).
 */
export class TextSplitter {
  private readonly library: Library;

  /** Throws the library's errors for a normalizer, pre-tokenizer or regular expression it lacks. */
  constructor(normalizer: JsonObject | null, preTokenizer: JsonObject | null) {
    const json = {
      normalizer,
      pre_tokenizer: preTokenizer,
      model: { type: "BPE", vocab: {}, merges: [] },
      post_processor: null,
      decoder: null,
      added_tokens: [],
    };
    this.library = new LibraryTokenizer(json, {}) as Library;
  }

  normalize(text: string): string {
    return this.library.normalizer === null ? text : this.library.normalizer(text);
  }

  /**
   * The pre-tokens of a normalized text: merges happen within each. Throws `UsageError` for a run of some million
   * characters of one kind outside the Basic Multilingual Plane, where the engine's regular expressions give up.
   */
  split(text: string): string[] {
    if (this.library.pre_tokenizer === null) return [text];
    try {
      return this.library.pre_tokenizer(text);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new UsageError(`the text cannot be tokenized: ${text.length} characters in it have no space`);
    }
  }
}
