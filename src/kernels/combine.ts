import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { sigmoid } from "./math.ts";
import { choiceStride } from "./route.ts";
import { forEachItem } from "./work.ts";

export interface CombineSpec {
  readonly cols: number;
  /** Experts that a token passes. */
  readonly used: number;
  /** Whether there is an expert that all tokens pass, with an amount for every token. */
  readonly shared: boolean;
  /** Adds to the output (a residual connection) instead of replacing it. */
  readonly accumulate: boolean;
}

export function combineName({ cols, used, shared, accumulate }: CombineSpec): string {
  return `combine_${accumulate ? "add_" : ""}${shared ? "shared_" : ""}${used}_c${cols}`;
}

/** y = Σ weight · output of the experts of a token, in the order in which they were chosen. */
export function combine(spec: CombineSpec, target: Target): Kernel {
  const { cols, used, shared, accumulate } = spec;
  const b = new KernelBuilder(target);
  const { op } = b;
  const outputs = b.parameter("outputs", "ptr", "f32 rows of every slot");
  const slots = b.parameter("slots", "ptr", "i32 rows: the slots of every token");
  const weights = b.parameter("weights", "ptr", "f32 rows: their weights");
  const y = b.parameter("y", "ptr", "f32 rows of every token");
  const counts = b.parameter("counts", "ptr", "i32: number of tokens");
  const common = shared
    ? {
        outputs: b.parameter("shared", "ptr", "f32 rows of the shared expert"),
        amounts: b.parameter("amounts", "ptr", "f32 rows of one value: sigmoid of it is their weight"),
      }
    : undefined;
  const stride = 4 * paddedCols(cols);
  const rowOf = (rows: Value<"ptr">, row: Value<"i32">) => op.addr(rows, row, { stride, offset: 0 });
  forEachItem(b, op.iload(counts, { offset: 0 }), (token) => {
    const of = (rows: Value<"ptr">) => op.addr(rows, token, { stride: choiceStride(used), offset: 0 });
    const [ids, own] = [b.named("ids", of(slots)), b.named("own", of(weights))];
    const to = b.named("y_row", rowOf(y, token));
    const extra = common && {
      row: b.named("shared_row", rowOf(common.outputs, token)),
      weight: b.named("amount", amountOf(b, common.amounts, token)),
    };
    b.loop("i", 0, paddedCols(cols), b.lanes, (i) => {
      const load = (row: Value<"ptr">) => op.vfload(op.addr(row, i, { stride: 4, offset: 0 }), { offset: 0 });
      const sum = b.variable("sum", op.vfconst({ value: 0 }));
      b.loop("choice", 0, used, 1, (choice) => {
        const at = (list: Value<"ptr">) => op.addr(list, choice, { stride: 4, offset: 0 });
        const row = b.named("row", rowOf(outputs, op.iload(at(ids), { offset: 0 })));
        sum.set(op.vfma(op.vfsplat(op.fload(at(own), { offset: 0 })), load(row), sum.get()));
      });
      if (extra !== undefined) sum.set(op.vfma(extra.weight, load(extra.row), sum.get()));
      const result = accumulate ? op.vfadd(load(to), sum.get()) : sum.get();
      op.vfstore(op.addr(to, i, { stride: 4, offset: 0 }), result, { offset: 0 });
    });
  });
  return b.build(combineName(spec), [
    `y ${accumulate ? "+=" : "="} weighted sum of ${used} rows of ${cols} values${shared ? " and of the shared one" : ""}`,
  ]);
}

function amountOf(b: KernelBuilder, amounts: Value<"ptr">, token: Value<"i32">): Value<"vf32"> {
  const row = b.op.addr(amounts, token, { stride: 4 * paddedCols(1), offset: 0 });
  return sigmoid(b, b.op.vfsplat(b.op.fload(row, { offset: 0 })));
}
