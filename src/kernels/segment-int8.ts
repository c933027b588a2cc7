import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import { type Context, INPUTS, type SegmentCursors, unpackChunk, zeroPoints } from "./micro-gemv.ts";
import { advance, type Cursor, cursor } from "./work.ts";

/** acc += scales · (Σ q·x − z·Σx) over one segment of `inputs` inputs, in integers until the scales. */
export function int8Segment(
  c: Context,
  record: Cursor,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  const { b, format, pack, unrolledChunks, acc } = c;
  const { zero } = format;
  const chunks = chunkCount(inputs);
  const unrolled = chunks <= unrolledChunks;
  // What the dot product already subtracted from every code.
  const offset = format.bits === 8 ? b.target.dot8Offset : 0;
  const constant = zero.kind === "constant" ? zero.value - offset : zero.kind === "minimum" ? -offset : 0;
  const start = at.sums.map((sum) =>
    constant === 0
      ? b.op.viconst({ value: 0 })
      : b.op.visplat(b.op.imul(b.op.iload(sum.pointer, { offset: sum.offset }), b.i(-constant))),
  );
  const totals: Value<"vi32">[][] = start.map((v) => Array<Value<"vi32">>(pack.tile).fill(v));
  const addChunk = (w: Cursor, xs: readonly Cursor[], sums: Value<"vi32">[][]) => {
    const broadcast = (t: number, input: number) => {
      const x = xs[t] as Cursor;
      return b.named(`x${t}_k${input}`, b.op.vbroadcast4(x.pointer, { offset: x.offset + input }));
    };
    // For one token the broadcasts serve all row vectors; for several, registers hold the codes instead.
    const single = xs.length === 1 ? INPUTS.map((input) => broadcast(0, input)) : undefined;
    for (let u = 0; u < pack.tile; u++) {
      const fields = unpackChunk(c, w, u);
      xs.forEach((_, t) => {
        const row = sums[t] as Value<"vi32">[];
        row[u] = b.dot(
          row[u] as Value<"vi32">,
          fields.map((f) => f.codes),
          single ?? fields.map((f) => broadcast(t, f.input)),
        );
        b.named(`dot${t}_${u}`, row[u] as Value<"vi32">);
      });
    }
  };
  if (unrolled) {
    for (let chunk = 0; chunk < chunks; chunk++) {
      addChunk(
        advance(codes, chunk * pack.chunkBytes),
        at.x.map((x) => advance(x, chunk * CHUNK)),
        totals,
      );
    }
  } else {
    loopChunks(c, chunks, codes, at.x, totals, addChunk);
  }
  const xScales = at.scales.map((c) => b.op.fload(c.pointer, { offset: c.offset }));
  const sum = (c: Cursor) => b.op.itof(b.op.iload(c.pointer, { offset: c.offset }));
  // What every row adds besides s · (Σ q·x): −z · Σx before the scales, or m · (scale of x) · Σx after them.
  const negatedSums =
    zero.kind === "code" ? at.sums.map((c) => b.op.vfsplat(b.op.fsub(b.f(0), sum(c)))) : undefined;
  const shifts =
    zero.kind === "minimum"
      ? at.sums.map((c, t) => b.op.vfsplat(b.op.fmul(xScales[t] as Value<"f32">, sum(c))))
      : undefined;
  for (let u = 0; u < pack.tile; u++) {
    const half = (offset: number) =>
      b.op.vhload(record.pointer, { offset: record.offset + offset + 2 * u * pack.lanes });
    const scale = b.named(`scale${u}`, half(0));
    const zeros = negatedSums && zeroPoints(c, record, u, offset);
    const minima = shifts && half(pack.zeroAt);
    at.x.forEach((_, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const dot = b.op.vitof((totals[t] as Value<"vi32">[])[u] as Value<"vi32">);
      const centred = zeros ? b.op.vfma(zeros, negatedSums?.[t] as Value<"vf32">, dot) : dot;
      if (minima) cell.set(b.op.vfma(minima, shifts?.[t] as Value<"vf32">, cell.get()));
      cell.set(b.op.vfma(centred, b.op.vfmul(scale, b.op.vfsplat(xScales[t] as Value<"f32">)), cell.get()));
    });
  }
}

/** Chunks of a long segment in a loop of `mu` inputs, the sums in variables. */
function loopChunks(
  c: Context,
  chunks: number,
  codes: Cursor,
  xs: readonly Cursor[],
  totals: Value<"vi32">[][],
  addChunk: (w: Cursor, xs: readonly Cursor[], sums: Value<"vi32">[][]) => void,
): void {
  const { b, pack, unrolledChunks: unroll } = c;
  const cells = totals.map((row, t) => row.map((v, u) => b.variable(`sum${t}_${u}`, v)));
  const run = (w: Cursor, x: readonly Cursor[], count: number) => {
    const sums = cells.map((row) => row.map((cell) => cell.get()));
    for (let i = 0; i < count; i++) {
      addChunk(
        advance(w, i * pack.chunkBytes),
        x.map((xt) => advance(xt, i * CHUNK)),
        sums,
      );
    }
    cells.forEach((row, t) =>
      row.forEach((cell, u) => cell.set((sums[t] as Value<"vi32">[])[u] as Value<"vi32">)),
    );
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
  cells.forEach((row, t) => row.forEach((cell, u) => ((totals[t] as Value<"vi32">[])[u] = cell.get())));
}
