import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { forEachVector, loadAt, type NormKind, normStatistics } from "./norm-statistics.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

export interface HeadNormSpec {
  readonly kind: NormKind;
  readonly heads: number;
  readonly headDim: number;
  readonly epsilon: number;
  /** Whether every head has weights of its own. */
  readonly ownWeights: boolean;
}

export function headNormName({ kind, heads, headDim, epsilon, ownWeights }: HeadNormSpec): string {
  return `${kind}norm_heads_${ownWeights ? "own_" : ""}h${heads}_d${headDim}_e${nameOfNumber(epsilon)}`;
}

/** Norm of every head of rows of heads, in place: see `norm`. One item per row and head. */
export function headNorm(spec: HeadNormSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const { kind, heads, headDim, epsilon, ownWeights } = spec;
  const x = b.parameter("x", "ptr", "f32 rows of heads, replaced by the result");
  const weight = b.parameter("weight", "ptr", ownWeights ? "f32 of all heads" : "f32 of a head");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  forEachItem(b, op.imul(op.iload(counts, { offset: 0 }), b.i(heads)), (item) => {
    const row = op.addr(x, op.idiv(item, b.i(heads)), { stride: 4 * paddedCols(heads * headDim), offset: 0 });
    const head = b.named("head", op.irem(item, b.i(heads)));
    const values = b.named("x_head", op.addr(row, head, { stride: 4 * headDim, offset: 0 }));
    const weights = ownWeights
      ? b.named("w_head", op.addr(weight, head, { stride: 4 * headDim, offset: 0 }))
      : weight;
    const { mean, factor } = normStatistics(b, { kind, cols: headDim, epsilon }, values);
    forEachVector(b, headDim, (place) => {
      const v = loadAt(b, values, place);
      const scaled = op.vfmul(mean === undefined ? v : op.vfsub(v, mean), factor);
      const result = op.vfmul(scaled, loadAt(b, weights, place));
      const to = op.addr(values, place.i, { stride: 4, offset: 0 });
      if (place.count === b.lanes) op.vfstore(to, result, { offset: 0 });
      else op.vfstoren(to, b.i(place.count), result, { offset: 0 });
    });
  });
  const centred = kind === "rms" ? "x" : "(x - mean(x))";
  return b.build(headNormName(spec), [
    `x = ${centred} / sqrt(mean(${centred}^2) + ${epsilon}) * w over each of ${heads} heads of ${headDim} values`,
  ]);
}
