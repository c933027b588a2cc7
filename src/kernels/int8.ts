import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/** Largest finite f32: keeps 127 / amax finite for subnormal values. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** What values of at most `amax` in size are multiplied by to become int8 codes; 0 where all are 0. */
export function int8Factor(b: KernelBuilder, amax: Value<"f32">): Value<"f32"> {
  const { op } = b;
  return op.fselect(op.flt(b.f(0), amax), op.fmin(op.fdiv(b.f(127), amax), b.f(LARGEST)), b.f(0));
}

/** x · factor as codes in −127 … 127, rounded to nearest even. */
export function int8Codes(b: KernelBuilder, x: Value<"vf32">, factor: Value<"vf32">): Value<"vi32"> {
  const { op } = b;
  const bound = (value: number) => op.vfconst({ value });
  return op.vftoi(op.vfmax(op.vfmin(op.vfmul(x, factor), bound(127)), bound(-127)));
}
