import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

/** The largest code of so many bits, in size: codes are symmetric. */
export const INT8_CODE = 127;
export const INT16_CODE = 32767;

/** Largest finite f32: keeps code / amax finite for subnormal values. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** What values of at most `amax` in size are multiplied by to become codes up to `code`; 0 where all are 0. */
export function codeFactor(b: KernelBuilder, amax: Value<"f32">, code: number): Value<"f32"> {
  const { op } = b;
  return op.fselect(op.flt(b.f(0), amax), op.fmin(op.fdiv(b.f(code), amax), b.f(LARGEST)), b.f(0));
}

/** x · factor as codes in −code … code, rounded to nearest even. */
export function codesOf(
  b: KernelBuilder,
  x: Value<"vf32">,
  factor: Value<"vf32">,
  code: number,
): Value<"vi32"> {
  const { op } = b;
  const bound = (value: number) => op.vfconst({ value });
  return op.vftoi(op.vfmax(op.vfmin(op.vfmul(x, factor), bound(code)), bound(-code)));
}
