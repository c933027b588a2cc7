/** C spelling of an f32 constant: the decimal that rounds to exactly this value. */
export function floatLiteral(value: number): string {
  const f = Math.fround(value);
  if (Number.isNaN(f)) return "NAN";
  if (!Number.isFinite(f)) return f > 0 ? "INFINITY" : "(-INFINITY)";
  const digits = Object.is(f, -0) ? "-0" : shortest(f);
  const literal = /[.e]/.test(digits) ? `${digits}f` : `${digits}.0f`;
  return digits.startsWith("-") ? `(${literal})` : literal;
}

/** The fewest significant digits that round to the same f32; nine always do. */
function shortest(f: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = Number(f.toPrecision(digits));
    if (Math.fround(text) === f) return String(text);
  }
  return String(Number(f.toPrecision(9)));
}

/** C spelling of an i32 constant. */
export function intLiteral(value: number): string {
  if (value === -(2 ** 31)) return "INT32_MIN";
  return value < 0 ? `(${value})` : String(value);
}

/** A register of 16 bytes that starts with these. */
export function tableLiteral(bytes: unknown): string {
  const entries = Array.from({ length: 16 }, (_, i) => (bytes as readonly number[])[i] ?? 0);
  return `_mm_setr_epi8(${entries.map((entry) => (entry << 24) >> 24).join(", ")})`;
}

/** C spelling of a byte. */
export function hexByte(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}
