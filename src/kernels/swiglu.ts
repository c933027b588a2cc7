import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target } from "../ir/types.ts";
import { paddedCols, ROW_PADDING } from "./activations.ts";
import { silu } from "./math.ts";
import { forEachItem } from "./work.ts";

export function swigluName(cols: number): string {
  return `swiglu_c${cols}`;
}

/** gate ← silu(gate) · up, elementwise (Shazeer 2020); padding stays zero. Work is split by 128 values. */
export function swiglu(cols: number, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const gate = b.parameter("gate", "ptr", "f32 rows, replaced by the result");
  const up = b.parameter("up", "ptr", "f32 rows");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const perRow = paddedCols(cols) / ROW_PADDING;
  forEachItem(b, op.imul(op.iload(counts, { offset: 0 }), b.i(perRow)), (item) => {
    const g = b.named("g", op.addr(gate, item, { stride: 4 * ROW_PADDING, offset: 0 }));
    const u = b.named("u", op.addr(up, item, { stride: 4 * ROW_PADDING, offset: 0 }));
    b.loop("i", 0, ROW_PADDING, b.lanes, (i) => {
      const p = op.addr(g, i, { stride: 4, offset: 0 });
      const value = silu(b, op.vfload(p, { offset: 0 }));
      const other = op.vfload(op.addr(u, i, { stride: 4, offset: 0 }), { offset: 0 });
      op.vfstore(p, op.vfmul(value, other), { offset: 0 });
    });
  });
  return b.build(swigluName(cols), [`gate = silu(gate) * up, ${cols} values a row`]);
}
