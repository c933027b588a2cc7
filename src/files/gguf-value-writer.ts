import type { ByteWriter } from "../base/byte-writer.ts";
import { UsageError } from "../base/errors.ts";
import {
  GGUF_TYPE_IDS,
  type GgufArray,
  type GgufScalar,
  type GgufScalars,
  type GgufScalarType,
  type GgufValue,
} from "./gguf-values.ts";

type Writer<T> = (to: ByteWriter, value: T, key: string) => void;

const WRITE_SCALAR: { readonly [K in GgufScalarType]: Writer<GgufScalars[K]> } = {
  u8: (to, value, key) => to.u8(integer(value, 8, "unsigned", key)),
  i8: (to, value, key) => to.u8(integer(value, 8, "signed", key)),
  u16: (to, value, key) => to.u16(integer(value, 16, "unsigned", key)),
  i16: (to, value, key) => to.u16(integer(value, 16, "signed", key)),
  u32: (to, value, key) => to.u32(integer(value, 32, "unsigned", key)),
  i32: (to, value, key) => to.u32(integer(value, 32, "signed", key)),
  u64: (to, value, key) => to.u64(integer(value, 64, "unsigned", key)),
  i64: (to, value, key) => to.u64(integer(value, 64, "signed", key)),
  f32: (to, value) => to.f32(value),
  f64: (to, value) => to.f64(value),
  bool: (to, value) => to.u8(value ? 1 : 0),
  string: (to, value) => to.string(value),
};

/** Writes the id of a value's type and the value; `UsageError` for an integer outside its type's range. */
export function writeValue(to: ByteWriter, key: string, value: GgufValue): void {
  to.u32(GGUF_TYPE_IDS[value.type]);
  if (value.type === "array") writeArray(to, value);
  else writeScalar(to, key, value);
}

function writeScalar<T extends GgufScalarType>(to: ByteWriter, key: string, scalar: GgufScalar<T>): void {
  const write: Writer<GgufScalars[T]> = WRITE_SCALAR[scalar.type];
  write(to, scalar.value, key);
}

function writeArray(to: ByteWriter, array: GgufArray): void {
  to.u32(GGUF_TYPE_IDS[array.of]);
  to.u64(BigInt(array.values.length));
  switch (array.of) {
    case "string":
      to.raw(array.values.bytes);
      return;
    case "array":
      for (const inner of array.values) writeArray(to, inner);
      return;
    default:
      to.raw(new Uint8Array(array.values.buffer, array.values.byteOffset, array.values.byteLength));
  }
}

/** `value`, if it is an integer of so many bits. */
function integer<T extends number | bigint>(
  value: T,
  bits: number,
  sign: "signed" | "unsigned",
  key: string,
): T {
  const least = sign === "signed" ? -(2n ** BigInt(bits - 1)) : 0n;
  const whole = typeof value === "bigint" || Number.isInteger(value);
  if (whole && value >= least && value < least + 2n ** BigInt(bits)) return value;
  throw new UsageError(`metadata ${key}: ${value} is no ${sign} integer of ${bits} bits`);
}
