import { assert } from "../base/assert.ts";
import type { Cell } from "../ir/builder.ts";
import type { Chain } from "../ir/chain.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, canNegate, chunkCount, valueBits } from "../quant/formats.ts";
import {
  type GroupHeads,
  type GroupScale,
  groupMinima,
  groupScale,
  groupScales,
  groupZeroPoints,
} from "./group-values.ts";
import {
  type CodesOf,
  type Context,
  chunkCodes,
  inputOrder,
  type Matrix,
  type SegmentCursors,
  upBits,
} from "./micro-gemv.ts";
import { advance, type Cursor, cursor } from "./work.ts";

/** Tokens with which codes stay up, at most. */
const RAW_TOKENS = 2;
/** Bits of codes of which every second can stay up (`upOf` in `quant/chunks.ts`). */
const NARROW_BITS = 2;

/** The open chains of a micro-GEMV: one per token and row vector. */
type Chains = Matrix<Chain>;

/** Σ q·x of some inputs, per token and row vector, from `start(t)` on. */
export type Dots = (start: (t: number) => Value<"vi32">) => Matrix<Value<"vi32">>;

/**
 * acc += scales · (Σ q·x − z·Σx) over one segment of group `g`, in integers until the scales. Inputs outermost: four at a
 * time, for every token a broadcast that serves all row vectors; so registers hold the sums, the words and fields at hand
 * and one broadcast.
 */
export function int8Segment(c: Context, heads: GroupHeads, g: number, at: SegmentCursors, dots: Dots): void {
  const { b, format, pack, acc } = c;
  const { zero } = format;
  const hasMinima = zero.kind === "minimum" || zero.kind === "product";
  const offset = dotOffset(c);
  const constant = zero.kind === "constant" ? zero.value - offset : hasMinima ? -offset : 0;
  const totals = dots(chainStart(c, at.sums, constant));
  const xScales = at.scales.map((c) => b.op.fload(c.pointer, { offset: c.offset }));
  const sum = (c: Cursor) => b.op.itof(b.op.iload(c.pointer, { offset: c.offset }));
  // What every row adds besides s · (Σ q·x): −z · Σx before the scales, or m · (scale of x) · Σx after them.
  const negatedSums =
    zero.kind === "code" ? at.sums.map((c) => b.op.vfsplat(b.op.fsub(b.f(0), sum(c)))) : undefined;
  const shifts = hasMinima
    ? at.sums.map((c, t) => b.op.vfsplat(b.op.fmul(xScales[t] as Value<"f32">, sum(c))))
    : undefined;
  for (let u = 0; u < pack.tile; u++) {
    const scale = b.named(`scale${u}`, groupScales(c, heads, g, u));
    const zeros = negatedSums && groupZeroPoints(c, heads, g, u, offset);
    const lowest = shifts && groupMinima(c, heads, g, u);
    at.x.forEach((_, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const dot = b.op.vitof((totals[t] as readonly Value<"vi32">[])[u] as Value<"vi32">);
      const centred = zeros ? b.op.vfma(zeros, negatedSums?.[t] as Value<"vf32">, dot) : dot;
      if (lowest) cell.set(b.op.vfma(lowest, shifts?.[t] as Value<"vf32">, cell.get()));
      cell.set(b.op.vfma(centred, b.op.vfmul(scale, b.op.vfsplat(xScales[t] as Value<"f32">)), cell.get()));
    });
  }
}

/** A segment whose group has a constant zero point. */
export interface Segment {
  readonly group: number;
  readonly sums: readonly Cursor[];
  readonly dots: Dots;
}

/**
 * acc += (scale of x) · factor · Σ scale · Σ (q − z)·x over segments with one scale of x, whose zero points are constant: what
 * they share is multiplied once. Takes a register for every sum of a segment, so is for few of them.
 *
 * @param xScales one for each token
 */
export function joinedSegments(
  c: Context,
  heads: GroupHeads,
  segments: readonly Segment[],
  xScales: readonly Cursor[],
): void {
  const { b, format, pack, acc } = c;
  const { zero } = format;
  assert(zero.kind === "constant", "joined segments have a constant zero point");
  const constant = zero.value - dotOffset(c);
  const totals = segments.map(({ sums, dots }) => dots(chainStart(c, sums, constant)));
  const scales = xScales.map(({ pointer, offset }) => b.op.vfsplat(b.op.fload(pointer, { offset })));
  for (let u = 0; u < pack.tile; u++) {
    const parts = segments.map(({ group }) => groupScale(c, heads, group, u));
    const { factor } = parts[0] as GroupScale;
    acc.forEach((row, t) => {
      const dots = totals.map((total) =>
        b.op.vitof((total[t] as readonly Value<"vi32">[])[u] as Value<"vi32">),
      );
      const scaled = parts.reduce<Value<"vf32"> | undefined>((sum, { value }, n) => {
        const dot = dots[n] as Value<"vf32">;
        return sum === undefined ? b.op.vfmul(dot, value) : b.op.vfma(dot, value, sum);
      }, undefined) as Value<"vf32">;
      const cell = row[u] as Cell<"vf32">;
      const product = factor === undefined ? scaled : b.op.vfmul(scaled, factor);
      cell.set(b.op.vfma(product, scales[t] as Value<"vf32">, cell.get()));
    });
  }
}

/** What the dot product already subtracted from every value. */
function dotOffset({ b, format }: Context): number {
  return valueBits(format) === 8 ? b.target.dot8Offset : 0;
}

/** What the chains of a token start with, so that values are `zero` less: −zero · Σx. */
function chainStart({ b }: Context, sums: readonly Cursor[], zero: number): (t: number) => Value<"vi32"> {
  const starts: Value<"vi32">[] = [];
  return (t) => {
    const { pointer, offset } = sums[t] as Cursor;
    starts[t] ??=
      zero === 0
        ? b.op.viconst({ value: 0 })
        : b.op.visplat(b.op.imul(b.op.iload(pointer, { offset }), b.i(-zero)));
    return starts[t];
  };
}

/** Of `inputs` inputs in whole chunks. */
export function chunkDots(c: Context, codes: Cursor, inputs: number, xs: readonly Cursor[]): Dots {
  const chunks = chunkCount(inputs);
  const raw = isRaw(c);
  return (start) =>
    chunks <= unrolledChunks(c, raw)
      ? unrolledDots(c, chunks, codes, xs, raw, start)
      : loopedDots(c, chunks, codes, xs, raw, start);
}

/** Of some inputs of one chunk. */
export function quadDots(
  c: Context,
  codesOf: readonly CodesOf[],
  inputs: readonly number[],
  xs: readonly Cursor[],
): Dots {
  return (start) => {
    const chains = openChains(c, start);
    addQuads(c, codesOf, inputs, xs, chains, false);
    return chains.map((row) => row.map((chain) => chain.close()));
  };
}

/**
 * Opens the chains of a micro-GEMV. Links of one token are shorter if they negate weights: the input's absolute value serves
 * all row vectors then.
 */
export function openChains(
  { b, format, pack, acc }: Context,
  accumulator: (t: number, u: number) => Value<"vi32">,
): Chains {
  const bits = valueBits(format);
  const negates = bits === 8 && canNegate(format) && pack.stored && acc.length === 1;
  const op = negates ? "dot8n" : undefined;
  return acc.map((_, t) =>
    Array.from({ length: pack.tile }, (_, u) => b.chain(bits, () => accumulator(t, u), `dot${t}_${u}`, op)),
  );
}

/** Adds the products of some inputs of one chunk to every chain. */
export function addQuads(
  { b, pack }: Context,
  codesOf: readonly CodesOf[],
  inputs: readonly number[],
  xs: readonly Cursor[],
  chains: Chains,
  raw: boolean,
): void {
  for (const input of inputs) {
    const up = raw ? upBits(pack, input) : 0;
    const fields = codesOf.map((codes) => codes(input));
    xs.forEach((x, t) => {
      const four = b.named(`x${t}_k${input}`, b.op.vbroadcast4(x.pointer, { offset: x.offset + input }));
      fields.forEach((field, u) => (chains[t] as readonly Chain[])[u]?.add(field, four, up));
    });
  }
}

function addChunk(c: Context, w: Cursor, xs: readonly Cursor[], chains: Chains, raw: boolean): void {
  const codesOf = Array.from({ length: c.pack.tile }, (_, u) => chunkCodes(c, w, u, true, raw));
  addQuads(c, codesOf, inputOrder(c.pack), xs, chains, raw);
}

/**
 * Whether codes of odd slots stay up, which saves half of the shifts and takes two chains for every token and row vector:
 * more than registers hold where there are many tokens.
 */
function isRaw({ format, pack, acc }: Context): boolean {
  return pack.stored && format.table === undefined && acc.length <= RAW_TOKENS;
}

/** Chunks of the blocking's `mu`; one where nothing is gained: codes are expanded, or narrow and do not stay up. */
function unrolledChunks(c: Context, raw: boolean): number {
  return c.pack.stored && (raw || c.format.bits > NARROW_BITS) ? c.unrolledChunks : 1;
}

function addChunks(
  c: Context,
  chunks: number,
  codes: Cursor,
  xs: readonly Cursor[],
  chains: Chains,
  raw: boolean,
): void {
  for (let i = 0; i < chunks; i++) {
    const at = xs.map((x) => advance(x, i * CHUNK));
    addChunk(c, advance(codes, i * c.pack.chunkBytes), at, chains, raw);
  }
}

function unrolledDots(
  c: Context,
  chunks: number,
  codes: Cursor,
  xs: readonly Cursor[],
  raw: boolean,
  start: (t: number) => Value<"vi32">,
): Matrix<Value<"vi32">> {
  const chains = openChains(c, start);
  addChunks(c, chunks, codes, xs, chains, raw);
  return chains.map((row) => row.map((chain) => chain.close()));
}

/** Chunks of a long segment in a loop of `mu` inputs, the sums in variables. */
function loopedDots(
  c: Context,
  chunks: number,
  codes: Cursor,
  xs: readonly Cursor[],
  raw: boolean,
  start: (t: number) => Value<"vi32">,
): Matrix<Value<"vi32">> {
  const { b, pack, acc } = c;
  const unroll = unrolledChunks(c, raw);
  const cells = acc.map((_, t) =>
    Array.from({ length: pack.tile }, (_, u) => b.variable(`sum${t}_${u}`, start(t))),
  );
  const cellAt = (t: number, u: number) => (cells[t] as Cell<"vi32">[])[u] as Cell<"vi32">;
  const run = (w: Cursor, x: readonly Cursor[], count: number) => {
    const chains = openChains(c, (t, u) => cellAt(t, u).get());
    addChunks(c, count, w, x, chains, raw);
    chains.forEach((row, t) => row.forEach((chain, u) => cellAt(t, u).set(chain.close())));
  };
  const whole = Math.floor(chunks / unroll);
  b.loop("chunk", 0, whole, 1, (i) => {
    const w = cursor(b.op.addr(codes.pointer, i, { stride: unroll * pack.chunkBytes, offset: codes.offset }));
    run(
      w,
      xs.map((x) => cursor(b.op.addr(x.pointer, i, { stride: unroll * CHUNK, offset: x.offset }))),
      unroll,
    );
  });
  const rest = chunks - whole * unroll;
  if (rest > 0) {
    run(
      advance(codes, whole * unroll * pack.chunkBytes),
      xs.map((x) => advance(x, whole * unroll * CHUNK)),
      rest,
    );
  }
  return cells.map((row) => row.map((cell) => cell.get()));
}
