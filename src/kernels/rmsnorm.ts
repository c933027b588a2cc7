import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

export interface RmsNormSpec {
  readonly cols: number;
  readonly epsilon: number;
  /** Takes only the rows listed in a table (those whose output is wanted), densely into the output. */
  readonly gather: boolean;
}

export function rmsNormName({ cols, epsilon, gather }: RmsNormSpec): string {
  return `rmsnorm_${gather ? "gather_" : ""}c${cols}_e${nameOfNumber(epsilon)}`;
}

/** y = x / sqrt(mean(x²) + ε) · w, row by row (Zhang and Sennrich 2019). */
export function rmsNorm(spec: RmsNormSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const x = b.parameter("x", "ptr", "f32 rows");
  const weight = b.parameter("weight", "ptr", "f32, zero-padded");
  const y = b.parameter("y", "ptr", "f32 rows");
  const counts = b.parameter("counts", "ptr", "i32: number of output rows");
  const list = spec.gather ? b.parameter("list", "ptr", "i32 input row of every output row") : undefined;
  const stride = 4 * paddedCols(spec.cols);
  const unroll = 4;
  const end = Math.ceil(spec.cols / (unroll * b.lanes)) * unroll * b.lanes;
  forEachItem(b, op.iload(counts, { offset: 0 }), (item) => {
    const row =
      list === undefined ? item : op.iload(op.addr(list, item, { stride: 4, offset: 0 }), { offset: 0 });
    const from = b.named("x_row", op.addr(x, row, { stride, offset: 0 }));
    const to = b.named("y_row", op.addr(y, item, { stride, offset: 0 }));
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
    const mean = op.fdiv(total, b.f(spec.cols));
    const scale = op.fdiv(b.f(1), op.fsqrt(op.fadd(mean, b.f(spec.epsilon))));
    const factor = b.named("factor", op.vfsplat(scale));
    b.loop("i", 0, end, b.lanes, (i) => {
      const v = op.vfload(op.addr(from, i, { stride: 4, offset: 0 }), { offset: 0 });
      const w = op.vfload(op.addr(weight, i, { stride: 4, offset: 0 }), { offset: 0 });
      op.vfstore(op.addr(to, i, { stride: 4, offset: 0 }), op.vfmul(op.vfmul(v, factor), w), { offset: 0 });
    });
  });
  return b.build(rmsNormName(spec), [
    `y = x / sqrt(mean(x^2) + ${spec.epsilon}) * w over ${spec.cols} values a row${spec.gather ? ", listed rows only" : ""}`,
  ]);
}
