import type { Cell } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import { wordsOfChunk } from "../quant/packing.ts";
import { TABLE_BYTES, TABLE_PART } from "./activations.ts";
import { type Context, loadSigns, type Matrix, type SegmentCursors } from "./micro-gemv.ts";
import { advance, type Cursor } from "./work.ts";

/**
 * sums[token][vector] += scale of x · Σ ±x over one segment, for the four row vectors from `first` on: the sums of every four
 * inputs are looked up by the signs of a row, for all rows at once. The parts of the sums of a chunk add up in bytes.
 */
export function lookupSegment(
  c: Context,
  first: number,
  sums: Matrix<Cell<"vf32">>,
  at: SegmentCursors,
  codes: Cursor,
  inputs: number,
): void {
  const { b, pack, layout } = c;
  let totals: Matrix<Value<"vi32">> | undefined;
  for (let chunk = 0; chunk < chunkCount(inputs); chunk++) {
    const tables = at.x.map((x) => advance(x, chunk * CHUNK * layout.inputBytes));
    const own = chunkSums(c, first, advance(codes, chunk * pack.chunkBytes), tables);
    totals = totals === undefined ? own : added(c, totals, own);
  }
  totals?.forEach((row, t) => {
    const { pointer, offset } = at.scales[t] as Cursor;
    const scale = b.op.vfsplat(b.op.fload(pointer, { offset }));
    row.forEach((total, v) => {
      const cell = (sums[t] as readonly Cell<"vf32">[])[v] as Cell<"vf32">;
      cell.set(b.op.vfma(b.op.vitof(total), scale, cell.get()));
    });
  });
}

/** Σ ±x over a chunk, per token and row vector, four row vectors from `first` on. */
function chunkSums(
  c: Context,
  first: number,
  codes: Cursor,
  tables: readonly Cursor[],
): Matrix<Value<"vi32">> {
  const { b, pack } = c;
  const { op } = b;
  const parts: Value<"vu8">[][] = tables.map(() => []);
  const add = (t: number, part: number, value: Value<"vu8">) => {
    const own = parts[t] as Value<"vu8">[];
    const before = own[part];
    own[part] = b.named(`part${t}_${part}`, before === undefined ? value : op.vu8add(before, value));
  };
  for (let word = 0; word < wordsOfChunk(pack); word++) {
    const signs = loadSigns(c, codes, word, first);
    for (const shift of [0, 4]) {
      const four = b.named(`signs${word}`, op.vfield(signs, { shift, mask: 15 }));
      tables.forEach((table, t) => {
        const offset = table.offset + (2 * word + shift / 4) * TABLE_BYTES;
        for (const part of [0, 1])
          add(t, part, op.vu8lookup(table.pointer, four, { offset: offset + part * TABLE_PART.bytes }));
      });
    }
  }
  return parts.map(([low, high]) =>
    [0, 1, 2, 3].map((index) =>
      op.vbytejoin(low as Value<"vu8">, high as Value<"vu8">, { index, shift: TABLE_PART.bits }),
    ),
  );
}

function added(
  { b }: Context,
  left: Matrix<Value<"vi32">>,
  right: Matrix<Value<"vi32">>,
): Matrix<Value<"vi32">> {
  return left.map((row, t) =>
    row.map((sum, v) => b.op.viadd(sum, (right[t] as readonly Value<"vi32">[])[v] as Value<"vi32">)),
  );
}
