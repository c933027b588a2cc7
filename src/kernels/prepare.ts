import { type Cell, KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { CHUNK } from "../quant/formats.ts";
import { type ActivationLayout, activationKey, paddedCols } from "./activations.ts";
import { codeFactor, codesOf, INT8_CODE } from "./codes.ts";
import { forEachItem } from "./work.ts";

export function prepareName(layout: ActivationLayout): string {
  return `prepare_${activationKey(layout)}`;
}

/**
 * Prepares f32 rows for projections. int8: per block of inputs scale = max|x| / 127 and codes round(x / scale), ties to
 * even; f32: a copy. Both: Σ of the values of every segment.
 */
export function prepare(layout: ActivationLayout, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const x = b.parameter("x", "ptr", "f32 rows");
  const out = b.parameter("out", "ptr", "prepared rows");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const rows = b.op.iload(counts, { offset: 0 });
  const units = layout.activations.kind === "int8" ? layout.blocks : layout.segments;
  forEachItem(b, b.op.imul(rows, b.i(units)), (item) => {
    const row = b.named("row", b.op.idiv(item, b.i(units)));
    const unit = b.named("unit", b.op.irem(item, b.i(units)));
    const from = b.named("x_row", b.op.addr(x, row, { stride: 4 * paddedCols(layout.cols), offset: 0 }));
    const to = b.named("out_row", b.op.addr(out, row, { stride: layout.rowBytes, offset: 0 }));
    if (layout.activations.kind === "int8") quantizeBlock(b, layout, from, to, unit);
    else copySegment(b, layout, from, to, unit);
  });
  return b.build(prepareName(layout), [
    layout.activations.kind === "int8"
      ? `q = round(x / s), s = max|x| / 127 over ${layout.block} inputs; sums of q over ${layout.segment} inputs`
      : `copy of x and its sums over ${layout.segment} inputs`,
    `${layout.cols} inputs a row`,
  ]);
}

/** The inputs of a unit, padded to whole chunks: `full` for all units but a ragged last one. */
function unitLength(b: KernelBuilder, unit: Value<"i32">, size: number, cols: number): Value<"i32"> {
  const padded = (n: number) => Math.ceil(n / CHUNK) * CHUNK;
  const count = Math.ceil(cols / size);
  const ragged = cols - (count - 1) * size;
  if (padded(ragged) === padded(size)) return b.i(padded(size));
  return b.op.iselect(b.op.ieq(unit, b.i(count - 1)), b.i(padded(ragged)), b.i(padded(size)));
}

function quantizeBlock(
  b: KernelBuilder,
  layout: ActivationLayout,
  row: Value<"ptr">,
  out: Value<"ptr">,
  block: Value<"i32">,
): void {
  const { op } = b;
  const length = b.named("length", unitLength(b, block, layout.block, layout.cols));
  const x = b.named("x_block", op.addr(row, block, { stride: 4 * layout.block, offset: 0 }));
  const codes = b.named("codes", op.addr(out, block, { stride: layout.block, offset: 0 }));
  const largest = b.variable("largest", op.vfconst({ value: 0 }));
  b.loop("i", 0, length, b.lanes, (i) => {
    const v = op.vfload(op.addr(x, i, { stride: 4, offset: 0 }), { offset: 0 });
    largest.set(op.vfmax(largest.get(), op.vfabs(v)));
  });
  const amax = b.named("amax", op.vfmaxlane(largest.get()));
  op.fstore(op.addr(out, block, { stride: 4, offset: layout.scalesAt }), op.fdiv(amax, b.f(127)), {
    offset: 0,
  });
  const factor = b.named("factor", op.vfsplat(codeFactor(b, amax, INT8_CODE)));
  const perBlock = Math.ceil(layout.block / layout.segment);
  const sums = op.addr(out, op.imul(block, b.i(perBlock)), { stride: 4, offset: layout.sumsAt });
  // Whole chunks of each segment: the padding of the last one is zero and adds nothing.
  const segment = Math.ceil(layout.segment / CHUNK) * CHUNK;
  b.loop("from", 0, length, segment, (from) => {
    const to = op.imin(op.iadd(from, b.i(segment)), length);
    const sum = b.variable("sum", op.viconst({ value: 0 }));
    b.loop("i", from, to, b.lanes, (i) => quantizeVector(b, x, codes, i, factor, sum));
    const at = op.addr(sums, op.idiv(from, b.i(segment)), { stride: 4, offset: 0 });
    op.istore(at, op.visum(sum.get()), { offset: 0 });
  });
}

function quantizeVector(
  b: KernelBuilder,
  x: Value<"ptr">,
  codes: Value<"ptr">,
  i: Value<"i32">,
  factor: Value<"vf32">,
  sum: Cell<"vi32">,
): void {
  const { op } = b;
  const v = op.vfload(op.addr(x, i, { stride: 4, offset: 0 }), { offset: 0 });
  const q = codesOf(b, v, factor, INT8_CODE);
  op.vi8storelanes(op.addr(codes, i, { stride: 1, offset: 0 }), q, { offset: 0 });
  sum.set(op.viadd(sum.get(), q));
}

function copySegment(
  b: KernelBuilder,
  layout: ActivationLayout,
  row: Value<"ptr">,
  out: Value<"ptr">,
  segment: Value<"i32">,
): void {
  const { op } = b;
  const length = b.named("length", unitLength(b, segment, layout.segment, layout.cols));
  const x = b.named("x_segment", op.addr(row, segment, { stride: 4 * layout.segment, offset: 0 }));
  const to = b.named("to", op.addr(out, segment, { stride: 4 * layout.segment, offset: 0 }));
  const sum = b.variable("sum", op.vfconst({ value: 0 }));
  b.loop("i", 0, length, b.lanes, (i) => {
    const v = op.vfload(op.addr(x, i, { stride: 4, offset: 0 }), { offset: 0 });
    op.vfstore(op.addr(to, i, { stride: 4, offset: 0 }), v, { offset: 0 });
    sum.set(op.vfadd(sum.get(), v));
  });
  op.fstore(op.addr(out, segment, { stride: 4, offset: layout.sumsAt }), op.vfsum(sum.get()), { offset: 0 });
}
