import type { BpeMerges } from "./bpe-merges.ts";
import { BpeRun } from "./bpe-run.ts";
import type { TextSplitter } from "./text-splitter.ts";

/** Ids, and steps of merging, between two pauses: some milliseconds. */
const BATCH = 16384;

/**
 * Pre-tokens are mostly words that come again, so short ones are kept, up to a count. V8 makes a substring of 13
 * units or more a view of the whole text, which a kept one would hold in memory.
 */
const CACHED_LENGTH = 12;
const CACHED_COUNT = 1 << 14;

/** Text → ids: pre-tokens, each merged by itself. */
export class BpeEncoder {
  private readonly cache = new Map<string, readonly number[]>();

  constructor(
    private readonly splitter: TextSplitter,
    private readonly merges: BpeMerges,
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
        found = yield* this.merge(preToken);
        this.keep(preToken, found);
      }
      for (const id of found) ids.push(id);
      if (ids.length < BATCH) continue;
      yield ids;
      ids = [];
    }
    yield ids;
  }

  private *merge(preToken: string): Generator<readonly number[], readonly number[]> {
    const whole = this.merges.whole(preToken);
    if (whole !== undefined) return [whole];
    const run = new BpeRun(this.merges, preToken);
    while (!run.advance(BATCH)) yield [];
    return run.ids();
  }

  private keep(preToken: string, ids: readonly number[]): void {
    if (preToken.length > CACHED_LENGTH) return;
    if (this.cache.size === CACHED_COUNT) this.cache.clear();
    this.cache.set(preToken, ids);
  }
}
