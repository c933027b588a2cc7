import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/** Elements of the KV cache that are numbers by themselves. */
export type FloatElement = "f32" | "f16";

/** Element types of the KV cache. `q8_0` are int8 codes with one f16 scale per `BLOCK_DIMS` dimensions of a position. */
export type ElementType = FloatElement | "q8_0";

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { f32: 4, f16: 2, q8_0: 1 };

/** L elements as f32. */
export function loadElements(
  b: KernelBuilder,
  type: FloatElement,
  p: Value<"ptr">,
  offset: number,
): Value<"vf32"> {
  return type === "f32" ? b.op.vfload(p, { offset }) : b.op.vhload(p, { offset });
}

/** Copies 1, 2 or 4 bytes from `from` to `to`. */
export function copyBytes(b: KernelBuilder, bytes: number, from: Value<"ptr">, to: Value<"ptr">): void {
  const { op } = b;
  const at = { offset: 0 };
  if (bytes === 4) op.istore(to, op.iload(from, at), at);
  else if (bytes === 2) op.u16store(to, op.u16load(from, at), at);
  else op.u8store(to, op.u8load(from, at), at);
}
