import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { type NormKind, normStatistics, type RowStatistics } from "./norm-statistics.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

export type { NormKind } from "./norm-statistics.ts";

export interface NormSpec {
  readonly kind: NormKind;
  readonly cols: number;
  readonly epsilon: number;
  /** Takes only the rows listed in a table (those whose output is wanted), densely into the output. */
  readonly gather: boolean;
  /** Whether a vector is added to the result. */
  readonly bias: boolean;
  /** Adds to the output (a residual connection) instead of replacing it. */
  readonly accumulate: boolean;
}

export function normName({ kind, cols, epsilon, gather, bias, accumulate }: NormSpec): string {
  const how = `${gather ? "gather_" : ""}${bias ? "bias_" : ""}${accumulate ? "add_" : ""}`;
  return `${kind}norm_${how}c${cols}_e${nameOfNumber(epsilon)}`;
}

/**
 * Norm row by row, in place or not. rms: y = x / sqrt(mean(x²) + ε) · w (Zhang and Sennrich 2019); layer: the same of
 * x − mean(x) (Ba et al. 2016).
 */
export function norm(spec: NormSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const x = b.parameter("x", "ptr", "f32 rows");
  const weight = b.parameter("weight", "ptr", "f32, zero-padded");
  const y = b.parameter("y", "ptr", "f32 rows");
  const counts = b.parameter("counts", "ptr", "i32: number of output rows");
  const list = spec.gather ? b.parameter("list", "ptr", "i32 input row of every output row") : undefined;
  const bias = spec.bias ? b.parameter("bias", "ptr", "f32, zero-padded") : undefined;
  const stride = 4 * paddedCols(spec.cols);
  const unroll = 4;
  const end = Math.ceil(spec.cols / (unroll * b.lanes)) * unroll * b.lanes;
  forEachItem(b, op.iload(counts, { offset: 0 }), (item) => {
    const row =
      list === undefined ? item : op.iload(op.addr(list, item, { stride: 4, offset: 0 }), { offset: 0 });
    const from = b.named("x_row", op.addr(x, row, { stride, offset: 0 }));
    const to = b.named("y_row", op.addr(y, item, { stride, offset: 0 }));
    const { mean, factor } =
      spec.kind === "rms" ? rootMeanSquare(b, spec, from, unroll, end) : normStatistics(b, spec, from);
    b.loop("i", 0, end, b.lanes, (i) => {
      const at = (p: Value<"ptr">) => op.vfload(op.addr(p, i, { stride: 4, offset: 0 }), { offset: 0 });
      const v = at(from);
      const w = at(weight);
      const place = op.addr(to, i, { stride: 4, offset: 0 });
      const scaled = op.vfmul(mean === undefined ? v : op.vfsub(v, mean), factor);
      const added = [bias, spec.accumulate ? to : undefined].filter((p) => p !== undefined).map(at);
      const [first, second] = added;
      const result = first === undefined ? op.vfmul(scaled, w) : op.vfma(scaled, w, first);
      const sum = second === undefined ? result : op.vfadd(result, second);
      op.vfstore(place, sum, { offset: 0 });
    });
  });
  return b.build(normName(spec), [header(spec)]);
}

function header({ kind, cols, epsilon, gather, bias, accumulate }: NormSpec): string {
  const x = kind === "rms" ? "x" : "(x - mean(x))";
  const result = `${x} / sqrt(mean(${x}^2) + ${epsilon}) * w${bias ? " + bias" : ""}`;
  return `y ${accumulate ? "+=" : "="} ${result} over ${cols} values a row${gather ? ", listed rows only" : ""}`;
}

/** The statistics of a padded row, in as many chains as hide the latency of an addition. */
function rootMeanSquare(
  b: KernelBuilder,
  { cols, epsilon }: NormSpec,
  from: Value<"ptr">,
  unroll: number,
  end: number,
): RowStatistics {
  const { op } = b;
  const sums = Array.from({ length: unroll }, (_, u) => b.variable(`sum${u}`, op.vfconst({ value: 0 })));
  b.loop("i", 0, end, unroll * b.lanes, (i) => {
    const p = op.addr(from, i, { stride: 4, offset: 0 });
    sums.forEach((sum, u) => {
      const v = op.vfload(p, { offset: 4 * u * b.lanes });
      sum.set(op.vfma(v, v, sum.get()));
    });
  });
  const [s0, s1, s2, s3] = sums.map((s) => s.get()) as [never, never, never, never];
  const total = op.vfsum(op.vfadd(op.vfadd(s0, s1), op.vfadd(s2, s3)));
  const mean = op.fdiv(total, b.f(cols));
  const scale = op.fdiv(b.f(1), op.fsqrt(op.fadd(mean, b.f(epsilon))));
  return { factor: b.named("factor", op.vfsplat(scale)) };
}
