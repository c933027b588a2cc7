import type { Value } from "../ir/types.ts";
import { type AttentionWork, CHUNK_PAGES, mixedBytes, ofQuery, scratchLayout } from "./attention-work.ts";
import { exp, softcap } from "./math.ts";
import { LINE_BYTES } from "./work.ts";

/**
 * The chunk's scores of a query become weights e^(score − largest), zero where it does not see the position. Where the
 * chunk has a new largest score, what was summed before is scaled down to it.
 */
export function softmaxChunk(
  work: AttentionWork,
  query: Value<"i32">,
  firstPosition: Value<"i32">,
  positions: Value<"i32">,
): void {
  const { b, spec } = work;
  const { op, lanes } = b;
  const layout = scratchLayout(spec);
  const none = op.vfconst({ value: Number.NEGATIVE_INFINITY });
  const scores = b.named("scores", ofQuery(work, query, layout.scores, 4 * CHUNK_PAGES * spec.kv.pageTokens));
  const visible = op.iload(ofQuery(work, query, layout.visible, 4), { offset: 0 });
  const limit = b.named("limit", op.visplat(op.isub(visible, firstPosition)));
  const start =
    spec.window === undefined
      ? undefined
      : b.named("start", op.visplat(op.isub(op.isub(visible, firstPosition), b.i(spec.window + 1))));
  const largestAt = b.named("largest_at", ofQuery(work, query, layout.largest, 4));
  const before = b.named("before", op.fload(largestAt, { offset: 0 }));
  const maximum = b.variable("maximum", op.vfsplat(before));
  b.loop("p", 0, positions, lanes, (p) => {
    const at = op.addr(scores, p, { stride: 4, offset: 0 });
    const position = op.viadd(op.visplat(p), op.viota());
    const reached = op.vilt(position, limit);
    const product = op.vfload(at, { offset: 0 });
    const capped = spec.softcap === undefined ? product : softcap(b, product, spec.softcap);
    const past = op.vfselect(reached, capped, none);
    const score = start === undefined ? past : op.vfselect(op.vilt(start, position), past, none);
    op.vfstore(at, score, { offset: 0 });
    maximum.set(op.vfmax(score, maximum.get()));
  });
  const largest = b.named("largest", op.vfmaxlane(maximum.get()));
  op.fstore(largestAt, largest, { offset: 0 });
  const base = b.named("base", op.vfsplat(largest));
  const shrink = b.named("shrink", exp(b, op.vfsub(op.vfsplat(before), base)));
  const sumAt = b.named("sum_at", ofQuery(work, query, layout.sums, LINE_BYTES));
  const sum = b.variable("sum", op.vfmul(op.vfload(sumAt, { offset: 0 }), shrink));
  b.loop("p", 0, positions, lanes, (p) => {
    const at = op.addr(scores, p, { stride: 4, offset: 0 });
    const weight = exp(b, op.vfsub(op.vfload(at, { offset: 0 }), base));
    op.vfstore(at, weight, { offset: 0 });
    sum.set(op.vfadd(sum.get(), weight));
  });
  op.vfstore(sumAt, sum.get(), { offset: 0 });
  const mixed = b.named("mixed", ofQuery(work, query, layout.mixed, mixedBytes(spec)));
  b.loop("d", 0, mixedBytes(spec) / 4, lanes, (d) => {
    const at = op.addr(mixed, d, { stride: 4, offset: 0 });
    op.vfstore(at, op.vfmul(op.vfload(at, { offset: 0 }), shrink), { offset: 0 });
  });
}
