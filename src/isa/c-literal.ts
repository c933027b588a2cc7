/** C spelling of an f32 constant: the decimal that rounds to exactly this value. */
export function floatLiteral(value: number): string {
  const f = Math.fround(value);
  if (Number.isNaN(f)) return "NAN";
  if (!Number.isFinite(f)) return f > 0 ? "INFINITY" : "(-INFINITY)";
  const digits = Object.is(f, -0) ? "-0" : String(f);
  const literal = /[.e]/.test(digits) ? `${digits}f` : `${digits}.0f`;
  return digits.startsWith("-") ? `(${literal})` : literal;
}

/** C spelling of an i32 constant. */
export function intLiteral(value: number): string {
  if (value === -(2 ** 31)) return "INT32_MIN";
  return value < 0 ? `(${value})` : String(value);
}

/** C spelling of a byte. */
export function hexByte(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}
