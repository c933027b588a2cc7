import type { Segmenter } from "./segmenter.ts";
import type { TextSplitter } from "./text-splitter.ts";

/** Ids between two pauses: some milliseconds. */
const BATCH = 16384;

/**
 * Pre-tokens are mostly words that come again, so short ones are kept, up to a count. V8 makes a substring of 13
 * units or more a view of the whole text, which a kept one would hold in memory.
 */
const CACHED_LENGTH = 12;
const CACHED_COUNT = 1 << 14;

/** Text → ids: pre-tokens, each divided into pieces by itself. */
export class Encoder {
  private readonly cache = new Map<string, readonly number[]>();

  constructor(
    private readonly splitter: TextSplitter,
    private readonly segmenter: Segmenter,
  ) {}

  normalize(text: string): string {
    return this.splitter.normalize(text);
  }

  /** The ids of a normalized text, in steps of some milliseconds. */
  *ids(text: string): Generator<readonly number[]> {
    let ids: number[] = [];
    for (const preToken of this.splitter.split(text)) {
      let found = this.cache.get(preToken);
      if (found === undefined) {
        found = yield* this.segmenter.segment(preToken);
        this.keep(preToken, found);
      }
      for (const id of found) ids.push(id);
      if (ids.length < BATCH) continue;
      yield ids;
      ids = [];
    }
    yield ids;
  }

  private keep(preToken: string, ids: readonly number[]): void {
    if (preToken.length > CACHED_LENGTH) return;
    if (this.cache.size === CACHED_COUNT) this.cache.clear();
    this.cache.set(preToken, ids);
  }
}
