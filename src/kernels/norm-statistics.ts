import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/** `rms` divides by the root mean square, `layer` by the standard deviation after the mean is taken away. */
export type NormKind = "rms" | "layer";

/** What a norm makes of a row: (x − mean) · factor, splatted; no mean where nothing is taken away. */
export interface RowStatistics {
  readonly mean?: Value<"vf32">;
  readonly factor: Value<"vf32">;
}

/** `count` consecutive values from index `i` on, all lanes or, of the last ones, fewer. */
export interface VectorPlace {
  readonly i: Value<"i32">;
  readonly count: number;
}

/** Goes through `cols` values by registers; the last one may hold fewer. */
export function forEachVector(b: KernelBuilder, cols: number, body: (place: VectorPlace) => void): void {
  const rest = cols % b.lanes;
  b.loop("i", 0, cols - rest, b.lanes, (i) => body({ i, count: b.lanes }));
  if (rest > 0) body({ i: b.i(cols - rest), count: rest });
}

/** f32 values at a place, 0 in the lanes behind them. */
export function loadAt(b: KernelBuilder, from: Value<"ptr">, { i, count }: VectorPlace): Value<"vf32"> {
  const p = b.op.addr(from, i, { stride: 4, offset: 0 });
  return count === b.lanes ? b.op.vfload(p, { offset: 0 }) : b.op.vfloadn(p, b.i(count), { offset: 0 });
}

/** The statistics of `cols` values, whatever lies behind them; what is averaged is centred first, so that nothing cancels. */
export function normStatistics(
  b: KernelBuilder,
  { kind, cols, epsilon }: { readonly kind: NormKind; readonly cols: number; readonly epsilon: number },
  from: Value<"ptr">,
): RowStatistics {
  const { op } = b;
  const zero = op.vfconst({ value: 0 });
  const sumOf = (value: (place: VectorPlace) => Value<"vf32">) => {
    const sum = b.variable("sum", zero);
    forEachVector(b, cols, (place) => sum.set(op.vfadd(sum.get(), value(place))));
    return op.fdiv(op.vfsum(sum.get()), b.f(cols));
  };
  const mean =
    kind === "layer" ? b.named("mean", op.vfsplat(sumOf((place) => loadAt(b, from, place)))) : undefined;
  const centred = (place: VectorPlace) => {
    const v = loadAt(b, from, place);
    if (mean === undefined) return v;
    const difference = op.vfsub(v, mean);
    if (place.count === b.lanes) return difference;
    return op.vfselect(op.vilt(op.viota(), op.visplat(b.i(place.count))), difference, zero);
  };
  const square = sumOf((place) => {
    const v = centred(place);
    return op.vfmul(v, v);
  });
  const scale = op.fdiv(b.f(1), op.fsqrt(op.fadd(square, b.f(epsilon))));
  const factor = b.named("factor", op.vfsplat(scale));
  return mean === undefined ? { factor } : { mean, factor };
}
