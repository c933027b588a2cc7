/** One instruction, or a few that go together: which values it reads and which it makes. */
export interface Use {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

/** Vector registers of a piece of code. */
export interface RegisterUse {
  /** Values alive at the widest point. */
  readonly alive: number;
  readonly available: number;
  /** Values stored to the stack for want of a register, and loaded from it again. */
  readonly stores: number;
  readonly reloads: number;
}

const NEVER = 2 ** 31 - 1;

/**
 * What an allocator that knows the future does with the code: of all values in registers the one that is read last is
 * stored when a register is needed (Belady). Of a loop's body a round between two others counts, to which values that
 * go round come, and from which they go on.
 */
export function allocate(body: readonly Use[], available: number, isLoop = false): RegisterUse {
  const code = new Rounds(body, isLoop ? 3 : 1);
  const [from, to] = isLoop ? [body.length, 2 * body.length] : [0, body.length];
  const alive = mostAlive(code, from, to);
  if (alive <= available) return { alive, available, stores: 0, reloads: 0 };
  const registers = new Registers(code, available);
  for (let i = 0; i < from; i++) registers.run(i);
  const { stores, reloads } = registers;
  for (let i = from; i < to; i++) registers.run(i);
  return { alive, available, stores: registers.stores - stores, reloads: registers.reloads - reloads };
}

/** Code that is run some times over, its values numbered from 0, in arrays: this is run for thousands of instructions. */
class Rounds {
  /** Values of instruction i: those it reads at `starts[i]` …, those it writes at `middles[i]` … `starts[i + 1]` − 1. */
  readonly values: Int32Array;
  readonly starts: Int32Array;
  readonly middles: Int32Array;
  /** For each of `values` in each round, the instruction that reads it next. */
  readonly next: Int32Array;
  readonly count: number;

  constructor(
    body: readonly Use[],
    readonly rounds: number,
  ) {
    const numbers = new Map<number, number>();
    const values: number[] = [];
    const add = (value: number) => {
      const known = numbers.get(value) ?? numbers.size;
      numbers.set(value, known);
      values.push(known);
    };
    this.starts = new Int32Array(body.length + 1);
    this.middles = new Int32Array(body.length);
    body.forEach(({ reads, writes }, i) => {
      reads.forEach(add);
      this.middles[i] = values.length;
      writes.forEach(add);
      this.starts[i + 1] = values.length;
    });
    this.values = Int32Array.from(values);
    this.count = numbers.size;
    this.next = this.nextReads();
  }

  get length(): number {
    return this.middles.length;
  }

  /** A value that is written before it is read again is read never. */
  private nextReads(): Int32Array {
    const { values, starts, middles, length } = this;
    const next = new Int32Array(values.length * this.rounds);
    const upcoming = new Int32Array(this.count).fill(NEVER);
    for (let i = length * this.rounds - 1; i >= 0; i--) {
      const at = i % length;
      const base = values.length * Math.floor(i / length);
      const [start, middle, end] = [starts[at], middles[at], starts[at + 1]] as [number, number, number];
      for (let k = start; k < end; k++) next[base + k] = upcoming[values[k] as number] as number;
      for (let k = middle; k < end; k++) upcoming[values[k] as number] = NEVER;
      for (let k = start; k < middle; k++) upcoming[values[k] as number] = i;
    }
    return next;
  }

  /** Calls `visit` for what instruction i reads, or writes, with the instruction that reads it next. */
  each(i: number, what: "reads" | "writes", visit: (value: number, next: number) => void): void {
    const at = i % this.length;
    const base = this.values.length * Math.floor(i / this.length);
    const from = (what === "reads" ? this.starts[at] : this.middles[at]) as number;
    const to = (what === "reads" ? this.middles[at] : this.starts[at + 1]) as number;
    for (let k = from; k < to; k++) visit(this.values[k] as number, this.next[base + k] as number);
  }
}

function mostAlive(code: Rounds, from: number, to: number): number {
  const alive = new Uint8Array(code.count);
  let now = 0;
  let most = 0;
  const note = (value: number, next: number) => {
    const before = alive[value] as number;
    alive[value] = next === NEVER ? 0 : 1;
    now += (alive[value] as number) - before;
  };
  for (let i = 0; i < to; i++) {
    code.each(i, "reads", note);
    code.each(i, "writes", note);
    if (i >= from) most = Math.max(most, now);
  }
  return most;
}

/** The register file, and which values are in the stack. */
class Registers {
  stores = 0;
  reloads = 0;
  /** When each value that has a register is read next. */
  private readonly held = new Map<number, number>();
  private readonly stored: Uint8Array;
  private busy: number[] = [];

  constructor(
    private readonly code: Rounds,
    private readonly available: number,
  ) {
    this.stored = new Uint8Array(code.count);
  }

  run(i: number): void {
    const { code, held, stored } = this;
    this.busy = [];
    code.each(i, "reads", (value) => this.busy.push(value));
    code.each(i, "reads", (value, next) => {
      if (!held.has(value) && stored[value] === 1) this.reloads++;
      this.keep(value, next);
    });
    code.each(i, "reads", (value, next) => next === NEVER && this.forget(value));
    code.each(i, "writes", (value, next) => {
      this.forget(value);
      if (next !== NEVER) this.keep(value, next);
    });
  }

  private forget(value: number): void {
    this.held.delete(value);
    this.stored[value] = 0;
  }

  private keep(value: number, next: number): void {
    this.held.set(value, next);
    if (this.held.size > this.available) this.evict();
  }

  /** Gives up the register of the value that is read last, but none of the instruction's own. */
  private evict(): void {
    let last = -1;
    let latest = -1;
    for (const [value, next] of this.held) {
      if (next <= latest || this.busy.includes(value)) continue;
      [last, latest] = [value, next];
    }
    if (last < 0) return;
    this.held.delete(last);
    if (this.stored[last] === 1) return;
    this.stored[last] = 1;
    this.stores++;
  }
}
