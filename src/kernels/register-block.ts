import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK } from "../quant/formats.ts";
import { type Activations, activationLayout } from "./activations.ts";
import type { Rows } from "./expert-work.ts";
import { floatInputs } from "./float-inputs.ts";
import { type InputBlock, quantizedInputs } from "./groups.ts";
import { quantized, type WeightSource, type WeightSpec } from "./weight-source.ts";

/** What of a projection decides its micro-GEMVs. */
export interface MicroGemvSpec extends WeightSpec {
  readonly activations: Activations;
}

/** The token and the row tile that a micro-GEMV starts at. */
interface Tile extends Rows {
  readonly token: Value<"i32">;
  readonly index: Value<"i32">;
}

/** One register block: `tu` outputs × `nu` tokens over the inputs of one input block. */
export function microGemv(
  b: KernelBuilder,
  { format, cols, activations, blocking }: MicroGemvSpec,
  { pack, tileAt }: WeightSource,
  at: Tile,
  nu: number,
  inputs: InputBlock,
): void {
  const layout = activationLayout(activations, format, cols, b.target);
  const tokens = Array.from({ length: nu }, (_, t) => (t === 0 ? at.token : b.op.iadd(at.token, b.i(t))));
  const w = b.named("w_tile", tileAt(at.index, inputs));
  const inputRow = (token: Value<"i32">) =>
    at.list === undefined
      ? token
      : b.op.iload(b.op.addr(at.list, token, { stride: 4, offset: 0 }), { offset: 0 });
  const xs = tokens.map((t, n) =>
    b.named(`x${n}`, b.op.addr(at.x, inputRow(t), { stride: layout.rowBytes, offset: 0 })),
  );
  const ys = tokens.map((t, n) =>
    b.named(
      `y${n}`,
      b.op.addr(b.op.addrv(at.y, t, at.yStride), at.index, { stride: 4 * pack.tileRows, offset: 0 }),
    ),
  );
  const vectorAt = (u: number) => ({ offset: 4 * u * pack.lanes });
  const acc = ys.map((_, t) =>
    Array.from({ length: pack.tile }, (_, u) => b.variable(`acc${t}_${u}`, b.op.vfconst({ value: 0 }))),
  );
  b.if(continues(b, inputs, at.accumulate), () => {
    acc.forEach((row, t) =>
      row.forEach((cell, u) => cell.set(b.op.vfload(ys[t] as Value<"ptr">, vectorAt(u)))),
    );
  });
  if (at.bias !== undefined)
    addBias(b, acc, b.op.addr(at.bias, at.index, { stride: 4 * pack.tileRows, offset: 0 }), inputs);
  if (format.kind === "float") {
    floatInputs(b, format.element, cols, w, xs, acc, pack);
  } else {
    const unrolledChunks = Math.max(1, Math.floor(blocking.mu / CHUNK));
    const context = { b, ...quantized(pack), layout, unrolledChunks, acc };
    quantizedInputs(context, cols, w, xs, inputs);
  }
  acc.forEach((row, t) =>
    row.forEach((cell, u) => b.op.vfstore(ys[t] as Value<"ptr">, cell.get(), vectorAt(u))),
  );
}

/** Whether sums go on from what is in the outputs. */
function continues(b: KernelBuilder, { isFirst }: InputBlock, accumulate: Value<"i32">): Value<"i32"> {
  return isFirst === true ? accumulate : b.op.imax(accumulate, b.op.ieq(isFirst, b.i(0)));
}

/** Adds to the sums the bias of their rows, where the first inputs are added up. */
function addBias(
  b: KernelBuilder,
  acc: readonly (readonly Cell<"vf32">[])[],
  bias: Value<"ptr">,
  { isFirst }: InputBlock,
): void {
  const ofTile = b.named("bias_tile", bias);
  const add = () => {
    for (const row of acc) {
      row.forEach((cell, u) => {
        cell.set(b.op.vfadd(cell.get(), b.op.vfload(ofTile, { offset: 4 * u * b.lanes })));
      });
    }
  };
  if (isFirst === true) add();
  else b.if(isFirst, add);
}
