import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import { sharedVectors, wordsOfChunk } from "../quant/packing.ts";
import { TABLE_BYTES, TABLE_PART } from "./activations.ts";
import { type Context, loadSigns, type Matrix, type SegmentCursors } from "./micro-gemv.ts";
import { advance, type Cursor } from "./work.ts";

/**
 * sums[token][row vector] += scale of x · Σ ±x over one segment: the sums of every four inputs are looked up by the signs of
 * a row, for all rows of a register at once. The parts of the sums of a chunk add up in bytes.
 */
export function lookupSegment(
  c: Context,
  sums: Matrix<Cell<"vf32">>,
  at: SegmentCursors,
  codes: Cursor,
  inputs: number,
): void {
  const { b, pack, layout } = c;
  let totals: Matrix<Value<"vi32">> | undefined;
  for (let chunk = 0; chunk < chunkCount(inputs); chunk++) {
    const tables = at.x.map((x) => advance(x, chunk * CHUNK * layout.inputBytes));
    const own = chunkSums(c, advance(codes, chunk * pack.chunkBytes), tables);
    totals = totals === undefined ? own : added(c, totals, own);
  }
  totals?.forEach((row, t) => {
    const { pointer, offset } = at.scales[t] as Cursor;
    const scale = b.op.vfsplat(b.op.fload(pointer, { offset }));
    row.forEach((total, u) => {
      const cell = (sums[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      cell.set(b.op.vfma(b.op.vitof(total), scale, cell.get()));
    });
  });
}

/** What the two parts of sums add up to, four row vectors to a register. */
type Parts = [low: Value<"vu8"> | undefined, high: Value<"vu8"> | undefined];

/** Σ ±x over a chunk, per token and row vector. Each part of a table is loaded once, for all registers. */
function chunkSums(c: Context, codes: Cursor, tables: readonly Cursor[]): Matrix<Value<"vi32">> {
  const { b, pack } = c;
  const { op } = b;
  const vectors = sharedVectors(pack.format);
  const firsts = Array.from({ length: pack.tile / vectors }, (_, r) => r * vectors);
  const parts = tables.map(() => firsts.map((): Parts => [undefined, undefined]));
  for (let word = 0; word < wordsOfChunk(pack); word++) {
    const signs = firsts.map((first) => loadSigns(c, codes, word, first));
    for (const shift of [0, 4]) {
      const fours = signs.map((own) => b.named(`signs${word}`, op.vfield(own, { shift, mask: 15 })));
      tables.forEach((table, t) => {
        for (const part of [0, 1] as const) {
          const offset = table.offset + (2 * word + shift / 4) * TABLE_BYTES + part * TABLE_PART.bytes;
          const sums = b.named(`table${t}_${part}`, op.vu8table(table.pointer, { offset }));
          fours.forEach((four, r) => {
            const own = parts[t]?.[r] as Parts;
            const [value, before] = [op.vu8lookup(sums, four), own[part]];
            own[part] = b.named(`part${t}_${part}`, before === undefined ? value : op.vu8add(before, value));
          });
        }
      });
    }
  }
  return parts.map((row) =>
    row.flatMap(([low, high]) =>
      Array.from({ length: vectors }, (_, index) =>
        op.vbytejoin(low as Value<"vu8">, high as Value<"vu8">, { index, shift: TABLE_PART.bits }),
      ),
    ),
  );
}

function added(
  { b }: Context,
  left: Matrix<Value<"vi32">>,
  right: Matrix<Value<"vi32">>,
): Matrix<Value<"vi32">> {
  return left.map((row, t) =>
    row.map((sum, u) => b.op.viadd(sum, (right[t] as readonly Value<"vi32">[])[u] as Value<"vi32">)),
  );
}
