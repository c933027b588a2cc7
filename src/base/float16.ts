/** Scalar conversions between f32 and the 16-bit storage types. Round to nearest, ties to even, as the CPUs do. */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

function bitsOf(value: number): number {
  f32[0] = value;
  return u32[0] as number;
}

function fromBits(bits: number): number {
  u32[0] = bits;
  return f32[0] as number;
}

/** IEEE binary16 bits → f32 value (exact; infinities and NaN kept). */
export function f16ToF32(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return (sign ? -1 : 1) * fraction * 2 ** -24;
  if (exponent === 31) return fromBits(sign | 0x7f800000 | (fraction << 13));
  return fromBits(sign | ((exponent + 112) << 23) | (fraction << 13));
}

/** f32 value → IEEE binary16 bits, rounding to nearest even; overflow gives infinity, NaN stays a quiet NaN. */
export function f32ToF16(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
  if (magnitude >= 0x47800000) return sign | 0x7c00; // ≥ 2^16, infinity included
  if (magnitude < 0x38800000) {
    // Below 2^-14: adding 0.5 leaves the subnormal f16, correctly rounded, in the low mantissa bits.
    return sign | (bitsOf(fromBits(magnitude) + 0.5) - 0x3f000000);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** bfloat16 bits → f32 value (exact). */
export function bf16ToF32(bits: number): number {
  return fromBits(bits << 16);
}

/** f32 value → bfloat16 bits, rounding to nearest even. */
export function f32ToBf16(value: number): number {
  const bits = bitsOf(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
