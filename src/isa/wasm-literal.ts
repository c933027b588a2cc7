/** WebAssembly spelling of an f32: the shortest decimal that rounds to exactly this value. */
export function f32Text(value: number): string {
  const f = Math.fround(value);
  if (Number.isNaN(f)) return "nan";
  if (!Number.isFinite(f)) return f > 0 ? "inf" : "-inf";
  if (Object.is(f, -0)) return "-0";
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(f.toPrecision(digits));
    if (Math.fround(short) === f) return String(short);
  }
  return String(Number(f.toPrecision(9)));
}

/** A vector constant with the same content in every lane of `shape`. */
export function splat(shape: "i8x16" | "i16x8" | "i32x4" | "f32x4", value: string): string {
  const lanes = Number(shape.slice(shape.indexOf("x") + 1));
  return `v128.const ${shape}${` ${value}`.repeat(lanes)}`;
}

/** A vector constant that starts with these bytes. */
export function tableConstant(bytes: unknown): string {
  const entries = Array.from({ length: 16 }, (_, i) => (bytes as readonly number[])[i] ?? 0);
  return `v128.const i8x16 ${entries.join(" ")}`;
}

export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
