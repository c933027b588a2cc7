import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { chunkCount, groupSize } from "../quant/formats.ts";
import type { ActivationLayout } from "./activations.ts";
import type { Context } from "./micro-gemv.ts";
import { floatSegment } from "./segment-f32.ts";
import { int8Segment } from "./segment-int8.ts";
import { advance, type Cursor, cursor, prefetch, steps } from "./work.ts";

/** The inputs of one mini-GEMV: whole groups `start` … `end` − 1, and whether the row's ragged group follows. */
export interface InputBlock {
  readonly start: Value<"i32">;
  readonly end: Value<"i32">;
  readonly hasRagged: Value<"i32"> | true;
  /** Whether the outputs start from nothing; else they go on from what the block before stored. */
  readonly isFirst: Value<"i32"> | true;
}

/** Whole groups of the block in a loop, then the ragged group of the row, if any. */
export function quantizedInputs(
  c: Context,
  cols: number,
  w: Value<"ptr">,
  xs: readonly Value<"ptr">[],
  block: InputBlock,
): void {
  const { b, format, pack, layout } = c;
  const size = groupSize(format, cols);
  const valueBytes = layout.activations.kind === "f32" ? 4 : 1;
  // Of an expanded block, the first record is the block's.
  const recordIndex = (g: Value<"i32">) => (pack.stored ? g : b.op.isub(g, block.start));
  const groupAt = (g: Value<"i32">): GroupCursors => ({
    record: cursor(b.named("record", b.op.addr(w, recordIndex(g), { stride: pack.recordBytes, offset: 0 }))),
    x: xs.map((x, t) =>
      cursor(b.named(`x${t}_group`, b.op.addr(x, g, { stride: size * valueBytes, offset: 0 }))),
    ),
    scales: xs.map((x) => scaleCursor(b, layout, x, g, size)),
    sums: xs.map((x) =>
      cursor(
        b.op.addr(x, g, {
          stride: 4 * Math.max(1, Math.floor(size / layout.segment)),
          offset: layout.sumsAt,
        }),
      ),
    ),
  });
  b.loop("group", block.start, block.end, 1, (g) => group(c, groupAt(g), size));
  const ragged = cols % size;
  if (ragged === 0) return;
  const last = Math.floor(cols / size);
  const tail = () => group(c, groupAt(b.i(last)), ragged);
  if (block.hasRagged === true) tail();
  else b.if(block.hasRagged, tail);
}

interface GroupCursors {
  readonly record: Cursor;
  readonly x: readonly Cursor[];
  readonly scales: readonly Cursor[];
  readonly sums: readonly Cursor[];
}

/** Where the activation scale of group g starts: a block may hold several groups, or a group several blocks. */
function scaleCursor(
  b: KernelBuilder,
  layout: ActivationLayout,
  x: Value<"ptr">,
  g: Value<"i32">,
  group: number,
): Cursor {
  if (layout.activations.kind === "f32") return cursor(x);
  if (layout.block >= layout.cols) return cursor(x, layout.scalesAt);
  if (layout.block > group) {
    const block = b.op.idiv(g, b.i(layout.block / group));
    return cursor(b.op.addr(x, block, { stride: 4, offset: layout.scalesAt }));
  }
  return cursor(b.op.addr(x, g, { stride: Math.floor((4 * group) / layout.block), offset: layout.scalesAt }));
}

/** One group of `inputs` weights: its segments in turn, each with its own activation scale. */
function group(c: Context, at: GroupCursors, inputs: number): void {
  const { b, pack, layout } = c;
  const valueBytes = layout.activations.kind === "f32" ? 4 : 1;
  const segment = Math.min(layout.segment, inputs);
  const whole = Math.floor(inputs / segment);
  const codes = advance(at.record, pack.headerBytes);
  if (pack.stored) prefetch(b, at.record, 0, pack.headerBytes);
  const moving: Record<string, readonly [Cursor, number]> = {
    codes: [codes, chunkCount(segment) * pack.chunkBytes],
  };
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, segment * valueBytes];
    moving[`scale${t}`] = [at.scales[t] as Cursor, 4];
    moving[`sum${t}`] = [at.sums[t] as Cursor, 4];
  });
  const products = layout.activations.kind === "int8" ? int8Segment : floatSegment;
  const place = (here: Readonly<Record<string, Cursor>>, length: number) =>
    products(c, at.record, here.codes as Cursor, length, {
      x: at.x.map((_, t) => here[`x${t}`] as Cursor),
      scales: at.x.map((_, t) => here[`scale${t}`] as Cursor),
      sums: at.x.map((_, t) => here[`sum${t}`] as Cursor),
    });
  steps(b, "segment", whole, 4, moving, (here) => place(here, segment));
  const rest = inputs - whole * segment;
  if (rest > 0) {
    const here = Object.fromEntries(
      Object.entries(moving).map(([key, [from, stride]]) => [key, advance(from, whole * stride)]),
    );
    place(here, rest);
  }
}
