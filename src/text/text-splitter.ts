import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { UsageError } from "../base/errors.ts";
import { SPACE_MARK } from "./vocabulary.ts";

/** A part of a `tokenizer.json`, such as `{ type: "NFC" }`. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What is used of the library's objects; its own declarations do not resolve under NodeNext. */
interface Library {
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: ((text: string) => string[]) | null;
}

/** SentencePiece's spelling of spaces. */
export const MARK_SPACES: JsonObject = { type: "Replace", pattern: { String: " " }, content: SPACE_MARK };

/** A step of normalizing: one of ours, or a normalizer of a `tokenizer.json`. */
export type Normalizer = ((text: string) => string) | JsonObject;

/**
 * Normalizers and pre-tokenizers of a Hugging Face `tokenizer.json`, run by `@huggingface/tokenizers` (which knows
 * their many types and translates Oniguruma's regular expressions).
 */
export class TextSplitter {
  private readonly normalizers: readonly ((text: string) => string)[];
  private readonly library: Library;

  /** Throws the library's errors for a normalizer, pre-tokenizer or regular expression it lacks. */
  constructor(normalizers: readonly Normalizer[], preTokenizers: readonly JsonObject[]) {
    this.normalizers = normalizers.map((step) => {
      const { normalizer } = typeof step === "function" ? { normalizer: step } : load(step, null);
      return normalizer ?? ((text) => text);
    });
    const pretokenizers = [...preTokenizers];
    this.library = load(null, pretokenizers.length === 0 ? null : { type: "Sequence", pretokenizers });
  }

  normalize(text: string): string {
    return this.normalizers.reduce((normal, normalize) => normalize(normal), text);
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

function load(normalizer: JsonObject | null, preTokenizer: JsonObject | null): Library {
  const json = {
    normalizer,
    pre_tokenizer: preTokenizer,
    model: { type: "BPE", vocab: {}, merges: [] },
    post_processor: null,
    decoder: null,
    added_tokens: [],
  };
  return new LibraryTokenizer(json, {}) as Library;
}
