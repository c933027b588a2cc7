import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/** Element types of stored vectors (KV cache): bytes of one, and how L of them are loaded as f32. */
export type ElementType = "f32" | "f16";

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { f32: 4, f16: 2 };

/** L elements as f32. */
export function loadElements(
  b: KernelBuilder,
  type: ElementType,
  p: Value<"ptr">,
  offset: number,
): Value<"vf32"> {
  return type === "f32" ? b.op.vfload(p, { offset }) : b.op.vhload(p, { offset });
}

/** L f32 stored as elements. */
export function storeElements(
  b: KernelBuilder,
  type: ElementType,
  p: Value<"ptr">,
  value: Value<"vf32">,
  offset: number,
): void {
  if (type === "f32") b.op.vfstore(p, value, { offset });
  else b.op.vhstore(p, value, { offset });
}

/** Copies one element from `from` to `to`. */
export function copyElement(b: KernelBuilder, type: ElementType, from: Value<"ptr">, to: Value<"ptr">): void {
  if (type === "f32") b.op.istore(to, b.op.iload(from, { offset: 0 }), { offset: 0 });
  else b.op.u16store(to, b.op.u16load(from, { offset: 0 }), { offset: 0 });
}
