import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/**
 * Element types of the KV cache. `q8_0` are int8 codes with one f16 scale per `BLOCK_DIMS` dimensions of a position:
 * what is loaded and stored here are the codes.
 */
export type ElementType = "f32" | "f16" | "q8_0";

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { f32: 4, f16: 2, q8_0: 1 };

/** L elements as f32. */
export function loadElements(
  b: KernelBuilder,
  type: ElementType,
  p: Value<"ptr">,
  offset: number,
): Value<"vf32"> {
  switch (type) {
    case "f32":
      return b.op.vfload(p, { offset });
    case "f16":
      return b.op.vhload(p, { offset });
    case "q8_0":
      return b.op.vitof(b.op.vi8loadlanes(p, { offset }));
  }
}

/** Copies one element from `from` to `to`. */
export function copyElement(b: KernelBuilder, type: ElementType, from: Value<"ptr">, to: Value<"ptr">): void {
  const { op } = b;
  const at = { offset: 0 };
  if (type === "f32") op.istore(to, op.iload(from, at), at);
  else if (type === "f16") op.u16store(to, op.u16load(from, at), at);
  else op.u8store(to, op.u8load(from, at), at);
}
