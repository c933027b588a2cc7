import { type Cell, KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { CHUNK } from "../quant/formats.ts";
import { type ActivationLayout, activationKey, paddedCols } from "./activations.ts";
import { codeFactor, codesOf, INT8_CODE } from "./codes.ts";
import { type FieldPatterns, signPatterns, storeTables } from "./sign-tables.ts";
import { forEachItem } from "./work.ts";

export function prepareName(layout: ActivationLayout, ordered = false): string {
  return `prepare_${ordered ? "ordered_" : ""}${activationKey(layout)}`;
}

/**
 * Prepares f32 rows for projections. int8: per block of inputs scale = max|x| / 127 and codes round(x / scale), ties to
 * even; f32: a copy. Both: Σ of the values of every segment. Where the layout has tables of sums, these.
 *
 * @param ordered whether the inputs are taken in an order that is given, as a list of `orderedOffsets`
 */
export function prepare(layout: ActivationLayout, target: Target, ordered = false): Kernel {
  const b = new KernelBuilder(target);
  const x = b.parameter("x", "ptr", "f32 rows");
  const out = b.parameter("out", "ptr", "prepared rows");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const order = ordered
    ? b.parameter("order", "ptr", "i32: offset in a row of x of every input (bytes)")
    : undefined;
  const rows = b.op.iload(counts, { offset: 0 });
  const patterns = layout.signs === undefined ? undefined : signPatterns(b, layout.signs);
  const units = layout.activations.kind === "int8" ? layout.blocks : layout.segments;
  forEachItem(b, b.op.imul(rows, b.i(units)), (item) => {
    const row = b.named("row", b.op.idiv(item, b.i(units)));
    const unit = b.named("unit", b.op.irem(item, b.i(units)));
    const from = b.named("x_row", b.op.addr(x, row, { stride: 4 * paddedCols(layout.cols), offset: 0 }));
    const to = b.named("out_row", b.op.addr(out, row, { stride: layout.rowBytes, offset: 0 }));
    const size = layout.activations.kind === "int8" ? layout.block : layout.segment;
    const load = inputs(b, from, order, unit, size);
    if (layout.activations.kind === "int8") quantizeBlock(b, layout, load, to, unit, patterns);
    else copySegment(b, layout, load, to, unit);
  });
  return b.build(prepareName(layout, ordered), [
    layout.activations.kind === "int8"
      ? `q = round(x / s), s = max|x| / 127 over ${layout.block} inputs; sums of q over ${layout.segment} inputs`
      : `copy of x and its sums over ${layout.segment} inputs`,
    `${layout.cols} inputs a row${ordered ? ", in the order of the weights" : ""}`,
  ]);
}

/** What `prepare` takes as the order of a row's inputs: their offsets (bytes), padding inputs at the end. */
export function orderedOffsets(order: Uint32Array): Int32Array {
  const { length } = order;
  return Int32Array.from({ length: Math.ceil(length / CHUNK) * CHUNK }, (_, i) => 4 * (order[i] ?? i));
}

/** Loads a register of inputs of a unit, those from i on. */
type Load = (i: Value<"i32">) => Value<"vf32">;

function inputs(
  b: KernelBuilder,
  row: Value<"ptr">,
  order: Value<"ptr"> | undefined,
  unit: Value<"i32">,
  size: number,
): Load {
  const { op } = b;
  const list = b.named("inputs", op.addr(order ?? row, unit, { stride: 4 * size, offset: 0 }));
  const place = (i: Value<"i32">) => op.addr(list, i, { stride: 4, offset: 0 });
  if (order === undefined) return (i) => op.vfload(place(i), { offset: 0 });
  return (i) => op.vbitstof(op.vigather(row, op.viload(place(i), { offset: 0 })));
}

/** Inputs padded to whole chunks, or as they are where rows are whole chunks and have units that divide them. */
function padded(size: number, cols: number): number {
  return cols % CHUNK === 0 && CHUNK % size === 0 ? size : Math.ceil(size / CHUNK) * CHUNK;
}

/** The inputs of a unit, padded: `size` for all units but a ragged last one. */
function unitLength(b: KernelBuilder, unit: Value<"i32">, size: number, cols: number): Value<"i32"> {
  const count = Math.ceil(cols / size);
  const ragged = cols - (count - 1) * size;
  if (padded(ragged, cols) === padded(size, cols)) return b.i(padded(size, cols));
  return b.op.iselect(b.op.ieq(unit, b.i(count - 1)), b.i(padded(ragged, cols)), b.i(padded(size, cols)));
}

function quantizeBlock(
  b: KernelBuilder,
  layout: ActivationLayout,
  load: Load,
  out: Value<"ptr">,
  block: Value<"i32">,
  patterns: readonly FieldPatterns[] | undefined,
): void {
  const { op } = b;
  const length = b.named("length", unitLength(b, block, layout.block, layout.cols));
  const codes = b.named("codes", op.addr(out, block, { stride: layout.block, offset: 0 }));
  const largest = b.variable("largest", op.vfconst({ value: 0 }));
  b.loop("i", 0, length, b.lanes, (i) => largest.set(op.vfmax(largest.get(), op.vfabs(load(i)))));
  const amax = b.named("amax", op.vfmaxlane(largest.get()));
  op.fstore(op.addr(out, block, { stride: 4, offset: layout.scalesAt }), op.fdiv(amax, b.f(127)), {
    offset: 0,
  });
  const factor = b.named("factor", op.vfsplat(codeFactor(b, amax, INT8_CODE)));
  const perBlock = Math.ceil(layout.block / layout.segment);
  const { sumBytes } = layout;
  const sums = op.addr(out, op.imul(block, b.i(perBlock)), { stride: sumBytes, offset: layout.sumsAt });
  // The padding of the last segment is zero and adds nothing.
  const segment = padded(layout.segment, layout.cols);
  b.loop("from", 0, length, segment, (from) => {
    const to = op.imin(op.iadd(from, b.i(segment)), length);
    const sum = b.variable("sum", op.viconst({ value: 0 }));
    b.loop("i", from, to, b.lanes, (i) => quantizeVector(b, load(i), codes, i, factor, sum));
    const at = op.addr(sums, op.idiv(from, b.i(segment)), { stride: sumBytes, offset: 0 });
    const store = sumBytes === 2 ? op.u16store : op.istore;
    const total = op.visum(sum.get());
    store(at, layout.sumFactor === 1 ? total : op.imul(total, b.i(layout.sumFactor)), { offset: 0 });
  });
  const { block: inputs, inputBytes, inputsAt, signs } = layout;
  if (signs === undefined || patterns === undefined) return;
  const tables = op.addr(out, block, { stride: inputBytes * inputs, offset: inputsAt });
  storeTables(b, signs, patterns, codes, b.named("tables", tables), length);
}

function quantizeVector(
  b: KernelBuilder,
  v: Value<"vf32">,
  codes: Value<"ptr">,
  i: Value<"i32">,
  factor: Value<"vf32">,
  sum: Cell<"vi32">,
): void {
  const { op } = b;
  const q = codesOf(b, v, factor, INT8_CODE);
  op.vi8storelanes(op.addr(codes, i, { stride: 1, offset: 0 }), q, { offset: 0 });
  sum.set(op.viadd(sum.get(), q));
}

function copySegment(
  b: KernelBuilder,
  layout: ActivationLayout,
  load: Load,
  out: Value<"ptr">,
  segment: Value<"i32">,
): void {
  const { op } = b;
  const length = b.named("length", unitLength(b, segment, layout.segment, layout.cols));
  const to = b.named("to", op.addr(out, segment, { stride: 4 * layout.segment, offset: 0 }));
  const sum = b.variable("sum", op.vfconst({ value: 0 }));
  b.loop("i", 0, length, b.lanes, (i) => {
    const v = load(i);
    op.vfstore(op.addr(to, i, { stride: 4, offset: 0 }), v, { offset: 0 });
    sum.set(op.vfadd(sum.get(), v));
  });
  op.fstore(op.addr(out, segment, { stride: 4, offset: layout.sumsAt }), op.vfsum(sum.get()), { offset: 0 });
}
