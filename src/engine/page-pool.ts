import { assert } from "../base/assert.ts";

/** The pages of the KV cache that no sequence holds. */
export class PagePool {
  private readonly free: number[];

  constructor(readonly size: number) {
    this.free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  get available(): number {
    return this.free.length;
  }

  take(): number {
    const page = this.free.pop();
    assert(page !== undefined, "the KV cache has no free page");
    return page;
  }

  give(pages: readonly number[]): void {
    this.free.push(...pages);
  }
}

/** The positions of one text in the cache: its pages in order. */
export class Sequence {
  readonly pages: number[] = [];
  /** Positions whose keys and values are in the cache. */
  length = 0;

  constructor(
    /** Which page table it uses. */
    readonly slot: number,
    private readonly pool: PagePool,
    readonly pageTokens: number,
  ) {}

  /** Makes room for positions up to `length`. */
  reserve(length: number): void {
    while (this.pages.length * this.pageTokens < length) this.pages.push(this.pool.take());
  }

  /** Forgets every position from `length` on. */
  truncate(length: number): void {
    const keep = Math.ceil(length / this.pageTokens);
    this.pool.give(this.pages.splice(keep));
    this.length = Math.min(this.length, length);
  }
}
