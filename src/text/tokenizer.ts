export interface EncodeOptions {
  /** Put the beginning-of-sequence token first. Default: what the model says (`addsBos`). */
  readonly addBos?: boolean | undefined;
  /**
   * Put the token that ends a text last (BERT's `[SEP]`): for embeddings. Default false, whatever the model says:
   * texts are encoded to be continued.
   */
  readonly addEos?: boolean | undefined;
  /**
   * Read control tokens such as `<|im_end|>` out of the text. Default false: text of a user stays text, so that it
   * cannot end a turn or start one.
   */
  readonly parseSpecial?: boolean | undefined;
}

export interface EncodeLongOptions extends EncodeOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface DecodeOptions {
  /** Leave out special tokens. Default false. */
  readonly skipSpecial?: boolean | undefined;
}

/** Text ↔ token ids, for one model's vocabulary. Holds no state between calls. */
export interface Tokenizer {
  /** Ids are 0 to `vocabularySize − 1`; the model's output matrix may have more rows (padding). */
  readonly vocabularySize: number;
  readonly bosId: number | undefined;
  /** The model's main end token, the one chat templates print. */
  readonly eosId: number | undefined;
  /** Every token that ends a generation: of the sequence, of the turn, of the message. Holds `eosId`. */
  readonly eosIds: ReadonlySet<number>;
  /** Whether the model wants `bosId` before every text. */
  readonly addsBos: boolean;
  /** Whether the model wants `eosId` after every text, as embedding models do. */
  readonly addsEos: boolean;

  /** Throws `UsageError` if `addBos` or `addEos` is asked of a vocabulary without that token. */
  encode(text: string, options?: EncodeOptions): number[];

  /** `encode` bit by bit: the same ids, in parts that each take some milliseconds. */
  encodeParts(text: string, options?: EncodeOptions): Iterable<readonly number[]>;

  /**
   * `encode` for texts of any length: the same ids, but the event loop gets its turn every few thousand tokens.
   * Only a run of text without any place to divide it (a megabyte of one letter) is worked on in one go.
   * Throws `AbortedError` when the signal fires.
   */
  encodeLong(text: string, options?: EncodeLongOptions): Promise<number[]>;

  /**
   * Marks the names of special tokens in `text`, so that `encode` with `parseSpecial` reads them as plain text (and
   * drops the marks): for the parts of a prompt that come from strangers.
   */
  literal(text: string): string;

  /** Malformed UTF-8 becomes U+FFFD. Ids past the vocabulary (padding rows of the model) have no text. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;

  /**
   * The bytes that one token adds to the text, for streaming (`Utf8Stream` joins them): not always whole
   * characters. Special tokens give their name; ask `isSpecial` to leave them out.
   */
  tokenBytes(id: number): Uint8Array;

  /** Control tokens, unused ones, and ids past the vocabulary: not part of the text. */
  isSpecial(id: number): boolean;
}
