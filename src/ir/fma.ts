const f64 = new Float64Array(1);
const words = new Int32Array(f64.buffer); // low word first

/**
 * a · b + c of three f32 values with one rounding to f32.
 *
 * The product of two 24-bit significands is exact in f64. The sum is rounded to f64 first, and rounding that again to
 * f32 could go wrong where it lies on a tie, so it is turned into the sum *rounded to odd*: TwoSum (Knuth) gives the
 * error of the f64 sum; if there is one, the exact sum lies strictly between two neighbours, and of these the one
 * with an odd last bit is taken. A value rounded to odd with at least two spare bits rounds on correctly (Boldo and
 * Melquiond 2008).
 */
export function fusedMultiplyAdd(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const addend = sum - product;
  const error = product - (sum - addend) + (c - addend);
  if (error === 0 || !Number.isFinite(sum)) return Math.fround(sum);
  f64[0] = sum;
  const low = words[0]!;
  if ((low & 1) === 0) {
    const awayFromZero = error > 0 === sum > 0;
    words[0] = awayFromZero ? low | 1 : low - 1;
    if (!awayFromZero && low === 0) words[1] = words[1]! - 1;
  }
  return Math.fround(f64[0]!);
}
