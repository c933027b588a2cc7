import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import type { Packing } from "../quant/packing.ts";
import type { Matrix } from "./micro-gemv.ts";
import { type Cursor, cursor } from "./work.ts";

/** acc += Σ_k w[k] · x[k] for float weights, four inputs unrolled. */
export function floatInputs(
  b: KernelBuilder,
  element: "f32" | "f16" | "bf16",
  cols: number,
  w: Value<"ptr">,
  xs: readonly Value<"ptr">[],
  acc: Matrix<Cell<"vf32">>,
  pack: Packing,
): void {
  const load = { f32: b.op.vfload, f16: b.op.vhload, bf16: b.op.vbfload }[element];
  const elementBytes = element === "f32" ? 4 : 2;
  const inputBytes = pack.tileRows * elementBytes;
  const input = (wAt: Cursor, xAt: readonly Cursor[]) => {
    const xk = xAt.map((c, t) =>
      b.named(`x${t}_k`, b.op.vfsplat(b.op.fload(c.pointer, { offset: c.offset }))),
    );
    for (let u = 0; u < pack.tile; u++) {
      const weight = load(wAt.pointer, { offset: wAt.offset + u * pack.lanes * elementBytes });
      xk.forEach((value, t) => {
        const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
        cell.set(b.op.vfma(weight, value, cell.get()));
      });
    }
  };
  const unroll = 4;
  const whole = cols - (cols % unroll);
  b.loop("input", 0, whole, unroll, (k) => {
    const wk = b.op.addr(w, k, { stride: inputBytes, offset: 0 });
    const xk = xs.map((x) => b.op.addr(x, k, { stride: 4, offset: 0 }));
    for (let i = 0; i < unroll; i++) {
      input(
        cursor(wk, i * inputBytes),
        xk.map((x) => cursor(x, 4 * i)),
      );
    }
  });
  for (let k = whole; k < cols; k++) {
    const wk = cursor(b.op.addr(w, b.i(k), { stride: inputBytes, offset: 0 }));
    input(
      wk,
      xs.map((x) => cursor(x, 4 * k)),
    );
  }
}
