import { assert } from "../base/assert.ts";
import type { Cell } from "../ir/builder.ts";
import type { SignWords, Value } from "../ir/types.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import { wordsOfChunk } from "../quant/packing.ts";
import { tableBytes, vectorsOfRegister } from "../quant/sign-words.ts";
import { TABLE_PART } from "./activations.ts";
import { type Context, loadSignPairs, loadSigns, type Matrix, type SegmentCursors } from "./micro-gemv.ts";
import { advance, type Cursor } from "./work.ts";

/**
 * sums[token][row vector] += scale of x · Σ ±x over one segment, in units of `lookupUnit`: the sums of a few inputs are
 * looked up by the signs of a row, for all rows of a register at once.
 */
export function lookupSegment(
  c: Context,
  sums: Matrix<Cell<"vf32">>,
  at: SegmentCursors,
  codes: Cursor,
  inputs: number,
): void {
  const { b, layout } = c;
  const segment = { c, codes, tables: at.x, chunks: chunkCount(inputs) };
  const totals = layout.signs?.bits === 8 ? byteTotals(segment) : pairTotals(segment);
  totals.forEach((row, t) => {
    const { pointer, offset } = at.scales[t] as Cursor;
    const scale = b.op.vfsplat(b.op.fload(pointer, { offset }));
    row.forEach((total, u) => {
      const cell = (sums[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      cell.set(b.op.vfma(b.op.vitof(total), scale, cell.get()));
    });
  });
}

/** Where the signs of a segment stand, and every token's tables. */
interface SignSegment {
  readonly c: Context;
  readonly codes: Cursor;
  readonly tables: readonly Cursor[];
  readonly chunks: number;
}

/** Of two sums in a lane, each stays in the upper half of it when the other is taken off. */
export function lookupUnit({ bits }: SignWords): number {
  return bits === 8 ? 1 : 2 ** -16;
}

/** Row vectors of which the first stand in a register. */
function firstVectors({ pack, b }: Context): number[] {
  const vectors = vectorsOfRegister(b.target.signs);
  return Array.from({ length: pack.tile / vectors }, (_, r) => r * vectors);
}

/** A sum so far, of which there is none before the first addend. */
type Sum<T extends "vu8" | "vi32"> = Value<T> | undefined;

/** Where the tables of word `word` of chunk `chunk` begin. */
function wordTables(
  { c: { b, layout }, tables }: SignSegment,
  chunk: number,
  word: number,
): readonly Cursor[] {
  const inputs = chunk * CHUNK + word * b.target.signs.bits;
  return tables.map((table) => advance(table, inputs * layout.inputBytes));
}

/** The sums of so many inputs fit 16 bits: 256 · 127 is below 2^15. */
const PAIR_CHUNKS = 256 / CHUNK;

/** Words of 16 bits: sums of 16 bits of all inputs, two row vectors to a register. */
function pairTotals(segment: SignSegment): Matrix<Value<"vi32">> {
  const { c, codes, chunks } = segment;
  const { b, pack, acc } = c;
  const { op } = b;
  assert(chunks <= PAIR_CHUNKS, "a sum of more inputs than fit 16 bits");
  const firsts = firstVectors(c);
  const sums = acc.map(() => firsts.map((): Sum<"vi32"> => undefined));
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (let word = 0; word < wordsOfChunk(pack); word++) {
      const from = advance(codes, chunk * pack.chunkBytes);
      const signs = firsts.map((first) => loadSignPairs(c, from, word, first));
      const tables = wordTables(segment, chunk, word);
      let [bit, offset] = [0, 0];
      for (const inputs of b.target.signs.fields) {
        const indexes = signs.map((word) => (bit === 0 ? word : op.vishr(word, { count: bit })));
        tables.forEach((table, t) => {
          const lookup = pairLookup(c, advance(table, offset), inputs);
          const row = sums[t] as Sum<"vi32">[];
          indexes.forEach((index, r) => {
            const [value, before] = [lookup(index), row[r]];
            row[r] = b.named(`sum${t}`, before === undefined ? value : op.vipairadd(before, value));
          });
        });
        bit += inputs;
        offset += tableBytes(inputs);
      }
    }
  }
  const top = op.viconst({ value: 0xffff0000 | 0 });
  return sums.map((row) =>
    row.flatMap((sum) => {
      const both = sum as Value<"vi32">;
      return [op.vishl(both, { count: 16 }), op.viand(both, top)];
    }),
  );
}

/** Looks up in the table at `at`, which is loaded once for all row vectors. */
function pairLookup({ b }: Context, at: Cursor, inputs: number): (index: Value<"vi32">) => Value<"vi32"> {
  const { op } = b;
  const bytes = 4 * b.lanes;
  const parts = Array.from({ length: tableBytes(inputs) / bytes }, (_, n) =>
    b.named("table", op.viload(at.pointer, { offset: at.offset + n * bytes })),
  );
  const [low, high] = parts as [Value<"vi32">, Value<"vi32">?];
  return (index) => (high === undefined ? op.vipairlookup(low, index) : op.vipairlookup2(low, high, index));
}

/** Words of 8 bits: parts of the sums of a chunk (`TABLE_PART`) add up in bytes, four row vectors to a register. */
function byteTotals(segment: SignSegment): Matrix<Value<"vi32">> {
  const { c, chunks } = segment;
  const ofChunks = Array.from({ length: chunks }, (_, chunk) => byteSums(segment, chunk));
  return ofChunks.reduce((left, right) =>
    left.map((row, t) =>
      row.map((sum, u) => c.b.op.viadd(sum, (right[t] as readonly Value<"vi32">[])[u] as Value<"vi32">)),
    ),
  );
}

/** What the two parts of sums add up to. */
type Parts = [low: Sum<"vu8">, high: Sum<"vu8">];

/** Σ ±x over a chunk, per token and row vector. Each part of a table is loaded once, for all registers. */
function byteSums(segment: SignSegment, chunk: number): Matrix<Value<"vi32">> {
  const { c, codes } = segment;
  const { b, pack, acc } = c;
  const { op } = b;
  const firsts = firstVectors(c);
  const parts = acc.map(() => firsts.map((): Parts => [undefined, undefined]));
  for (let word = 0; word < wordsOfChunk(pack); word++) {
    const from = advance(codes, chunk * pack.chunkBytes);
    const signs = firsts.map((first) => loadSigns(c, from, word, first));
    for (const [field, shift] of [0, 4].entries()) {
      const fours = signs.map((own) => b.named(`signs${word}`, op.vfield(own, { shift, mask: 15 })));
      wordTables(segment, chunk, word).forEach((table, t) => {
        for (const part of [0, 1] as const) {
          const offset = table.offset + field * tableBytes(4) + part * TABLE_PART.bytes;
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
      [0, 1, 2, 3].map((index) =>
        op.vbytejoin(low as Value<"vu8">, high as Value<"vu8">, { index, shift: TABLE_PART.bits }),
      ),
    ),
  );
}
