import type { BpeMerges } from "./bpe-merges.ts";

/**
 * The merging of one pre-token, which can be done a bit at a time.
 *
 * Our own rather than the library's because that cannot pause (a megabyte without spaces held it for 5 to 9
 * seconds), spends most of its time on a string key per pair, and cannot order merges of equal score by place, as
 * SentencePiece does.
 */
export class BpeRun {
  private readonly symbols: Int32Array;
  /** Neighbours of each symbol that is left; `next` is `length` at the end, `previous` −1 at the start. */
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** Rank of the merge of each symbol with its next, −1 if there is none or the symbol is gone. */
  private readonly ranks: Int32Array;
  private readonly queue = new PlaceQueue();
  /** Symbols whose first merge was offered. */
  private offered = 0;

  constructor(
    private readonly merges: BpeMerges,
    private readonly preToken: string,
  ) {
    this.symbols = merges.symbolsOf(preToken);
    const { length } = this.symbols;
    this.next = new Int32Array(length);
    this.previous = new Int32Array(length);
    this.ranks = new Int32Array(length).fill(-1);
    for (let i = 0; i < length; i++) {
      this.next[i] = i + 1;
      this.previous[i] = i - 1;
    }
  }

  /** Does up to `steps` steps; true when nothing is left to merge. */
  advance(steps: number): boolean {
    for (let i = 0; i < steps; i++) {
      if (this.offered < this.symbols.length) {
        this.offer(this.offered++);
        continue;
      }
      const entry = this.queue.pop();
      if (entry === undefined) return true;
      const place = entry % PLACES;
      // An entry is stale where the symbol was merged since, or got another neighbour.
      if (this.ranks[place] === (entry - place) / PLACES) this.mergeAt(place);
    }
    return false;
  }

  /** The ids of the pre-token. */
  ids(): number[] {
    const ids: number[] = [];
    const chars = this.merges.model.spelling === "spaces" ? Array.from(this.preToken) : [];
    for (let i = 0; i < this.symbols.length; i = this.next[i] as number) {
      this.merges.spell(this.symbols[i] as number, chars[i] ?? "", ids);
    }
    return ids;
  }

  private mergeAt(left: number): void {
    const right = this.next[left] as number;
    const after = this.next[right] as number;
    const merge = this.merges.find(this.symbols[left] as number, this.symbols[right] as number);
    this.symbols[left] = this.merges.result(merge);
    this.ranks[right] = -1;
    this.next[left] = after;
    if (after < this.symbols.length) this.previous[after] = left;
    this.offer(this.previous[left] as number);
    this.offer(left);
  }

  /** Queues the merge of symbol `i` with its next, if they have one. */
  private offer(i: number): void {
    if (i < 0) return;
    const next = this.next[i] as number;
    const merge =
      next < this.symbols.length
        ? this.merges.find(this.symbols[i] as number, this.symbols[next] as number)
        : -1;
    const rank = merge < 0 ? -1 : this.merges.rank(merge);
    this.ranks[i] = rank;
    if (rank >= 0) this.queue.push(rank * PLACES + i);
  }
}

/** Places in a pre-token; with ranks below 2^22 an entry `rank · PLACES + place` is exact. */
const PLACES = 2 ** 30;

/** Smallest number first: the lowest rank, of equals the leftmost place. A binary heap. */
class PlaceQueue {
  private readonly heap: number[] = [];

  push(entry: number): void {
    const { heap } = this;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((heap[parent] as number) <= entry) break;
      heap[i] = heap[parent] as number;
      i = parent;
    }
    heap[i] = entry;
  }

  pop(): number | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= last) break;
      heap[i] = heap[child] as number;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
