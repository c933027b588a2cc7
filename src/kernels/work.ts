import type { KernelBuilder } from "../ir/builder.ts";
import type { Prefetch, Value } from "../ir/types.ts";

/** A number as part of an identifier: 1e-5 → 1em5, 0.125 → 0p125. */
export function nameOfNumber(value: number): string {
  return String(value).replace("+", "").replaceAll("-", "m").replaceAll(".", "p");
}

/** Runs `body` for this thread's share of `items`: equal contiguous ranges, thread after thread. */
export function splitWork(
  b: KernelBuilder,
  items: Value<"i32">,
  body: (first: Value<"i32">, last: Value<"i32">) => void,
): void {
  const bound = (thread: Value<"i32">) => b.op.idiv(b.op.imul(items, thread), b.threads);
  const first = b.named("first", bound(b.thread));
  const last = b.named("last", bound(b.op.iadd(b.thread, b.i(1))));
  body(first, last);
}

/** Like `splitWork`, one item at a time. */
export function forEachItem(b: KernelBuilder, items: Value<"i32">, body: (item: Value<"i32">) => void): void {
  splitWork(b, items, (first, last) => b.loop("item", first, last, 1, body));
}

/** Per lane the value `left` bits further up, or down where that is negative. */
export function shifted({ op }: KernelBuilder, value: Value<"vi32">, left: number): Value<"vi32"> {
  if (left === 0) return value;
  return left > 0 ? op.vishl(value, { count: left }) : op.vishr(value, { count: -left });
}

/** A pointer and a constant byte offset, so that unrolled code gets constant offsets and loops get pointers. */
export interface Cursor {
  readonly pointer: Value<"ptr">;
  readonly offset: number;
}

export function cursor(pointer: Value<"ptr">, offset = 0): Cursor {
  return { pointer, offset };
}

export function advance(c: Cursor, bytes: number): Cursor {
  return { pointer: c.pointer, offset: c.offset + bytes };
}

/**
 * `count` steps: unrolled when there are at most `limit`, else a loop of the generated code. Every cursor of `cursors`
 * moves on by its stride (bytes) from one step to the next; `body` sees where they stand.
 */
export function steps<K extends string>(
  b: KernelBuilder,
  name: string,
  count: number,
  limit: number,
  cursors: Readonly<Record<K, readonly [Cursor, number]>>,
  body: (at: Readonly<Record<K, Cursor>>) => void,
): void {
  const keys = Object.keys(cursors) as K[];
  const place = (move: (c: Cursor, stride: number) => Cursor) =>
    Object.fromEntries(keys.map((k) => [k, move(cursors[k][0], cursors[k][1])])) as Record<K, Cursor>;
  if (count <= limit) {
    for (let i = 0; i < count; i++) body(place((c, stride) => advance(c, i * stride)));
    return;
  }
  b.loop(name, 0, count, 1, (i) => {
    body(place((c, stride) => cursor(b.op.addr(c.pointer, i, { stride, offset: c.offset }))));
  });
}

/** Of a cache line. */
export const LINE_BYTES = 64;

/**
 * Reads a byte of each line of the `bytes` bytes at `at`, which a kernel needs later than what follows them. Prefetchers
 * of the hardware follow reads of ascending addresses, and lose them where a kernel jumps forth and comes back.
 */
export function touchLines(b: KernelBuilder, at: Cursor, bytes: number): void {
  for (let line = 0; line < bytes; line += LINE_BYTES) b.op.touch(at.pointer, { offset: at.offset + line });
}

/**
 * Asks for cache lines that begin in the `bytes` bytes at `at`, moved ahead as `how` says. Lines are counted from the
 * cursor's pointer, from which on everything is read.
 */
export function prefetch(
  b: KernelBuilder,
  { pointer, offset }: Cursor,
  bytes: number,
  how: Prefetch | undefined,
): void {
  if (how === undefined) return;
  const { level, ahead, every } = how;
  for (let line = Math.ceil(offset / every) * every; line < offset + bytes; line += every)
    b.op.prefetch(pointer, { offset: ahead + line, level });
}
