import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { exp } from "./math.ts";
import { forEachVector, loadAt, type VectorPlace } from "./norm-statistics.ts";
import { forEachItem } from "./work.ts";

/** What scoring leaves of a row of logits: f32 values by their index in the row's record. */
export const SCORE = {
  /** The largest logit. */
  largest: 0,
  /** Σ e^(logit − largest); not finite where a logit is NaN or ∞. */
  sum: 1,
  /** The logit of the target. */
  target: 2,
  /** The same of the base's row. */
  base: 3,
  /** Σ e^(base − its largest) · ((base − its largest) − (logit − largest)); NaN where that is infinite. */
  weighted: 6,
  /** How many tokens have the largest logit of both rows. */
  sameTop: 7,
  values: 8,
} as const;

export interface ScoreSpec {
  /** Size of the vocabulary. */
  readonly cols: number;
  /** Whether there is a second row of logits, the base's, to compare with. */
  readonly compared: boolean;
}

export function scoreName({ cols, compared }: ScoreSpec): string {
  return `${compared ? "compare" : "score"}_c${cols}`;
}

/**
 * Rows of logits → a record of `SCORE` each: what the log-probability of a target token needs, and the divergence from
 * the base's row. Logarithms are left to the reader, who has f64: ln p(target) = target − largest − ln sum, and
 * KL(base ‖ model) = weighted / base sum − ln base sum + ln sum. A record without a base has its first values only.
 */
export function score(spec: ScoreSpec, target: Target): Kernel {
  const { cols, compared } = spec;
  const b = new KernelBuilder(target);
  const { op } = b;
  const logits = b.parameter("logits", "ptr", "f32 rows");
  const base = compared ? b.parameter("base", "ptr", "f32 rows, the base's logits") : undefined;
  const targets = b.parameter("targets", "ptr", "i32 token of every row, below the size of the vocabulary");
  const records = b.parameter("records", "ptr", `f32, ${SCORE.values} a row`);
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const stride = 4 * paddedCols(cols);
  forEachItem(b, op.iload(counts, { offset: 0 }), (item) => {
    const record = b.named("record", op.addr(records, item, { stride: 4 * SCORE.values, offset: 0 }));
    const token = op.iload(op.addr(targets, item, { stride: 4, offset: 0 }), { offset: 0 });
    const rowOf = (rows: Value<"ptr">, name: string) =>
      b.named(name, op.addr(rows, item, { stride, offset: 0 }));
    const row = rowOf(logits, "row");
    const top = softmaxSum(b, cols, row, token, record, 0);
    if (base === undefined) return;
    const baseRow = rowOf(base, "base_row");
    const baseTop = softmaxSum(b, cols, baseRow, token, record, SCORE.base);
    divergence(b, cols, { row, top, baseRow, baseTop }, record);
  });
  const what = compared ? "softmax sums of two rows, and how far they are apart" : "softmax sums";
  return b.build(scoreName(spec), [`records = ${what}, ${cols} logits a row`]);
}

/** Largest logit, Σ e^(logit − largest) and the target's logit → the record from `at` on; returns the largest. */
function softmaxSum(
  b: KernelBuilder,
  cols: number,
  row: Value<"ptr">,
  token: Value<"i32">,
  record: Value<"ptr">,
  at: number,
): Value<"vf32"> {
  const { op } = b;
  const none = op.vfconst({ value: Number.NEGATIVE_INFINITY });
  const maximum = b.variable("maximum", none);
  forEachVector(b, cols, (place) => {
    maximum.set(op.vfmax(within(b, place, loadAt(b, row, place), none), maximum.get()));
  });
  const largest = b.named("largest", op.vfmaxlane(maximum.get()));
  const top = b.named("top", op.vfsplat(largest));
  const infinite = op.vfconst({ value: Number.POSITIVE_INFINITY });
  const sum = compensatedSum(b, cols, (place) => {
    const logit = loadAt(b, row, place);
    const power = exp(b, op.vfsub(logit, top));
    return op.vfselect(op.vflt(logit, infinite), power, infinite);
  });
  op.fstore(record, largest, { offset: 4 * (at + SCORE.largest) });
  op.fstore(record, sum, { offset: 4 * (at + SCORE.sum) });
  const wanted = op.fload(op.addr(row, token, { stride: 4, offset: 0 }), { offset: 0 });
  op.fstore(record, wanted, { offset: 4 * (at + SCORE.target) });
  return top;
}

interface TwoRows {
  readonly row: Value<"ptr">;
  readonly top: Value<"vf32">;
  readonly baseRow: Value<"ptr">;
  readonly baseTop: Value<"vf32">;
}

/** How far the row is from the base's → the record. What the base holds impossible counts nothing, even against −∞. */
function divergence(
  b: KernelBuilder,
  cols: number,
  { row, top, baseRow, baseTop }: TwoRows,
  record: Value<"ptr">,
): void {
  const { op } = b;
  const [zero, one] = [op.vfconst({ value: 0 }), op.vfconst({ value: 1 })];
  const same = b.variable("same", zero);
  const weighted = compensatedSum(b, cols, (place) => {
    const [logit, baseLogit] = [loadAt(b, row, place), loadAt(b, baseRow, place)];
    const baseDepth = op.vfsub(baseLogit, baseTop);
    const weight = exp(b, baseDepth);
    const below = op.vfselect(op.vflt(baseLogit, baseTop), zero, one);
    const both = op.vfselect(op.vflt(logit, top), zero, below);
    same.set(op.vfadd(same.get(), within(b, place, both, zero)));
    const apart = op.vfsub(baseDepth, op.vfsub(logit, top));
    return op.vfselect(op.vflt(zero, weight), op.vfmul(weight, apart), zero);
  });
  op.fstore(record, weighted, { offset: 4 * SCORE.weighted });
  op.fstore(record, op.vfsum(same.get()), { offset: 4 * SCORE.sameTop });
}

/** The value, and `otherwise` in the lanes behind the row's end. */
function within(
  b: KernelBuilder,
  { count }: VectorPlace,
  value: Value<"vf32">,
  otherwise: Value<"vf32">,
): Value<"vf32"> {
  const { op } = b;
  return count === b.lanes
    ? value
    : op.vfselect(op.vilt(op.viota(), op.visplat(b.i(count))), value, otherwise);
}

/**
 * Σ of a value over a row, with what every addition rounds off carried along (Kahan 1965): a hundred thousand unlikely
 * tokens are a share of the sum, and none of them alone would change it.
 */
function compensatedSum(
  b: KernelBuilder,
  cols: number,
  value: (place: VectorPlace) => Value<"vf32">,
): Value<"f32"> {
  const { op } = b;
  const zero = op.vfconst({ value: 0 });
  const sum = b.variable("sum", zero);
  const excess = b.variable("excess", zero);
  forEachVector(b, cols, (place) => {
    const term = op.vfsub(within(b, place, value(place), zero), excess.get());
    const after = b.named("after", op.vfadd(sum.get(), term));
    excess.set(op.vfsub(op.vfsub(after, sum.get()), term));
    sum.set(after);
  });
  return op.vfsum(sum.get());
}
