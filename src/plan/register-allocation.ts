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

const NEVER = Number.POSITIVE_INFINITY;

/**
 * What an allocator that knows the future does with the code: of all values in registers the one that is read last is
 * stored when a register is needed (Belady). Of a loop's body a round between two others counts, to which values that
 * go round come, and from which they go on.
 */
export function allocate(body: readonly Use[], available: number, isLoop = false): RegisterUse {
  const code = isLoop ? [...body, ...body, ...body] : body;
  const from = isLoop ? body.length : 0;
  const later = nextReads(code);
  const held = new Map<number, number>();
  const stored = new Set<number>();
  const counts = { alive: 0, stores: 0, reloads: 0 };
  const alive = new Set<number>();
  code.forEach(({ reads, writes }, i) => {
    const counted = i >= from && i < from + body.length ? 1 : 0;
    const next = later[i] as ReadonlyMap<number, number>;
    const keep = (value: number) => {
      held.set(value, next.get(value) ?? NEVER);
      if (held.size > available) counts.stores += counted * evict(held, stored, reads);
    };
    for (const value of reads) {
      if (!held.has(value) && stored.has(value)) counts.reloads += counted;
      keep(value);
    }
    for (const value of reads) if (next.get(value) === NEVER) drop(value, held, stored, alive);
    for (const value of writes) {
      stored.delete(value);
      if (next.get(value) === NEVER) continue;
      alive.add(value);
      keep(value);
    }
    for (const value of reads) if (next.get(value) !== NEVER) alive.add(value);
    if (counted > 0) counts.alive = Math.max(counts.alive, alive.size);
  });
  return { ...counts, available };
}

function drop(value: number, ...sets: readonly (Map<number, number> | Set<number>)[]): void {
  for (const set of sets) set.delete(value);
}

/** Gives up the register of the value that is read last, but none of `busy`; returns how many stores that takes. */
function evict(held: Map<number, number>, stored: Set<number>, busy: readonly number[]): number {
  let last: number | undefined;
  for (const [value, next] of held) {
    if (busy.includes(value)) continue;
    if (last === undefined || next > (held.get(last) as number)) last = value;
  }
  if (last === undefined) return 0;
  held.delete(last);
  if (stored.has(last)) return 0;
  stored.add(last);
  return 1;
}

/** For every instruction, when each value it touches is read next; a value that is written first is not read. */
function nextReads(code: readonly Use[]): Map<number, number>[] {
  const next = new Map<number, number>();
  const all: Map<number, number>[] = [];
  for (let i = code.length - 1; i >= 0; i--) {
    const { reads, writes } = code[i] as Use;
    all.push(new Map([...reads, ...writes].map((value) => [value, next.get(value) ?? NEVER])));
    for (const value of writes) next.set(value, NEVER);
    for (const value of reads) next.set(value, i);
  }
  return all.reverse();
}
