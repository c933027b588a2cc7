import type { Cell } from "../ir/builder.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import {
  type Context,
  chunkCodes,
  inputOrder,
  minima,
  type SegmentCursors,
  scales,
  zeroPoints,
} from "./micro-gemv.ts";
import { type Cursor, steps } from "./work.ts";

/** acc += scale · (Σ q·x − z·Σx) over one segment, which is a group: weights dequantized in registers. */
export function floatSegment(
  c: Context,
  record: Cursor,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  const { b, format, pack, acc } = c;
  const { zero } = format;
  const sums = at.sums.map((s) => b.op.fload(s.pointer, { offset: s.offset }));
  const products = sums.map((sum, t) =>
    Array.from({ length: pack.tile }, (_, u) =>
      b.variable(
        `sum${t}_${u}`,
        zero.kind === "constant"
          ? b.op.vfsplat(b.op.fmul(sum, b.f(-zero.value)))
          : b.op.vfconst({ value: 0 }),
      ),
    ),
  );
  const moving: Record<string, readonly [Cursor, number]> = { codes: [codes, pack.chunkBytes] };
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, 4 * CHUNK];
  });
  steps(b, "chunk", chunkCount(inputs), 1, moving, (here) => {
    for (let u = 0; u < pack.tile; u++) {
      const codesOf = chunkCodes(c, here.codes as Cursor, u);
      for (const input of inputOrder(pack)) {
        const four = codesOf(input);
        for (let i = 0; i < 4; i++) {
          const weight = b.op.vitof(b.op.vbyteof(four, { index: i }));
          at.x.forEach((_, t) => {
            const x = here[`x${t}`] as Cursor;
            const cell = (products[t] as Cell<"vf32">[])[u] as Cell<"vf32">;
            const value = b.op.fload(x.pointer, { offset: x.offset + 4 * (input + i) });
            cell.set(b.op.vfma(weight, b.op.vfsplat(value), cell.get()));
          });
        }
      }
    }
  });
  for (let u = 0; u < pack.tile; u++) {
    const scale = scales(c, record, u);
    sums.forEach((sum, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const product = ((products[t] as Cell<"vf32">[])[u] as Cell<"vf32">).get();
      if (zero.kind === "minimum") {
        cell.set(b.op.vfma(minima(c, record, u), b.op.vfsplat(sum), cell.get()));
      }
      const negated = b.op.vfsplat(b.op.fsub(b.f(0), sum));
      const centred =
        zero.kind === "code" ? b.op.vfma(zeroPoints(c, record, u, 0), negated, product) : product;
      cell.set(b.op.vfma(centred, scale, cell.get()));
    });
  }
}
