import type { Cell } from "../ir/builder.ts";
import type { Chain } from "../ir/chain.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, type Scale, type Zero } from "../quant/formats.ts";
import { type BlockFactors, type GroupHeads, pairIntegers } from "./group-values.ts";
import { type Context, chunkCodes, inputOrder, type Matrix, type SegmentCursors } from "./micro-gemv.ts";
import { addQuads, openChains } from "./segment-int8.ts";
import type { Cursor } from "./work.ts";

/**
 * Sums over the paired groups g of a block, in the scales of x: Σ s_g · (Σ q·x − z·Σx), and, where there are minima,
 * Σ m_g · Σx. A chunk is summed in integers: the sums of its two groups fit 16 bits, and share a lane.
 */
export interface PairedSums {
  readonly products: Matrix<Cell<"vf32">>;
  readonly minima: Matrix<Cell<"vf32">> | undefined;
}

export function openPairedSums({ b, format, pack, acc }: Context): PairedSums {
  const cells = (name: string) =>
    acc.map((_, t) =>
      Array.from({ length: pack.tile }, (_, u) => b.variable(`${name}${t}_${u}`, b.op.vfconst({ value: 0 }))),
    );
  return {
    products: cells("sum"),
    minima: format.zero.kind === "product" ? cells("low") : undefined,
  };
}

/** Adds chunk number `n` of a section. */
export function addPairedChunk(
  c: Context,
  to: PairedSums,
  heads: GroupHeads,
  n: number,
  at: SegmentCursors,
  codes: Cursor,
): void {
  const { b, format, pack } = c;
  const { op } = b;
  const { scale, zero } = format;
  const dots = pairedDots(c, codes, at.x);
  const sums = at.sums.map((s) => op.visplat(op.iload(s.pointer, { offset: s.offset })));
  const xScales = at.scales.map((s) => op.vfsplat(op.fload(s.pointer, { offset: s.offset })));
  const none = op.viconst({ value: 0 });
  const add = (cells: Matrix<Cell<"vf32">> | undefined, t: number, u: number, sum: Value<"vi32">) => {
    const cell = cells?.[t]?.[u];
    cell?.set(op.vfma(op.vitof(sum), xScales[t] as Value<"vf32">, cell.get()));
  };
  for (let u = 0; u < pack.tile; u++) {
    const integers = (part: Scale | Zero, streams: readonly Cursor[]) =>
      part.kind === "product" ? pairIntegers(c, streams, part.codes, n, u) : none;
    const scales = b.named(`scales${u}`, integers(scale, heads.scales));
    const minima = b.named(`minima${u}`, integers(zero, heads.zeros));
    at.x.forEach((_, t) => {
      const both = dots[t]?.[u] as Value<"vi32">;
      const sum = sums[t] as Value<"vi32">;
      const centre =
        zero.kind === "constant"
          ? op.vipairdot(scales, sum, none) // Σx is multiplied by −z already (`sumFactor`)
          : none;
      add(to.products, t, u, op.vipairdot(both, scales, centre));
      if (to.minima !== undefined) add(to.minima, t, u, op.vipairdot(minima, sum, none));
    });
  }
}

/**
 * Σ q·x of both groups of a chunk, per token and row vector, two to a lane. Codes of 2 bits of the odd group, in the odd
 * slots, stay up: their sum is shifted down with what moves it to the upper half of a lane.
 */
function pairedDots(c: Context, codes: Cursor, xs: readonly Cursor[]): Matrix<Value<"vi32">> {
  const { b, pack } = c;
  const raw = pack.stored;
  const codesOf = Array.from({ length: pack.tile }, (_, u) => chunkCodes(c, codes, u, true, raw));
  const half = (first: number) => {
    const chains = openChains(c, () => b.op.viconst({ value: 0 }));
    const inputs = inputOrder(pack).filter((input) => input - first >= 0 && input - first < CHUNK / 2);
    addQuads(c, codesOf, inputs, xs, chains, raw);
    return chains;
  };
  const [even, odd] = [half(0), half(CHUNK / 2)];
  return even.map((row, t) => row.map((chain, u) => chain.closePair(odd[t]?.[u] as Chain)));
}

/** acc += what the block's integers are multiples of, times their sums. */
export function closePairedSums({ b, acc }: Context, sums: PairedSums, factors: BlockFactors): void {
  const add = (cells: Matrix<Cell<"vf32">>, by: readonly Value<"vf32">[]) =>
    by.forEach((factor, u) => {
      acc.forEach((row, t) => {
        const cell = row[u] as Cell<"vf32">;
        const sum = (cells[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
        cell.set(b.op.vfma(sum.get(), factor, cell.get()));
      });
    });
  add(sums.products, factors.scales);
  if (sums.minima !== undefined) add(sums.minima, factors.minima);
}
