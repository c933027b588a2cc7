import { expect, it } from "vitest";
import { Rng } from "../../src/base/rng.ts";

const MASK = 0xffffffffn;

/** xoshiro128** over splitmix32, written down a second time, in BigInt. */
function* reference(seed: number): Generator<number> {
  let z = BigInt(seed >>> 0);
  const s: bigint[] = [];
  for (let i = 0; i < 4; i++) {
    z = (z + 0x9e3779b9n) & MASK;
    let x = ((z ^ (z >> 16n)) * 0x21f0aaadn) & MASK;
    x = ((x ^ (x >> 15n)) * 0x735a2d97n) & MASK;
    s.push(x ^ (x >> 15n));
  }
  const rotate = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & MASK;
  for (;;) {
    yield Number((rotate((s[1]! * 5n) & MASK, 7n) * 9n) & MASK);
    const t = (s[1]! << 9n) & MASK;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11n);
  }
}

it.each([0, 1, 42, 0xffffffff])("seed %i gives xoshiro128**'s sequence", (seed) => {
  const rng = new Rng(seed);
  const wanted = reference(seed);
  for (let i = 0; i < 1000; i++) expect(rng.u32()).toBe(wanted.next().value);
});

it("draws uniform and normal numbers with the moments they should have", () => {
  const rng = new Rng(7);
  const count = 100_000;
  const moments = (draw: () => number) => {
    const values = Float64Array.from({ length: count }, draw);
    const mean = values.reduce((sum, x) => sum + x, 0) / count;
    return { mean, variance: values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count };
  };
  const uniform = moments(() => rng.uniform());
  expect(uniform.mean).toBeCloseTo(0.5, 2);
  expect(uniform.variance).toBeCloseTo(1 / 12, 2);
  const normal = moments(() => rng.normal());
  expect(Math.abs(normal.mean)).toBeLessThan(0.02);
  expect(Math.abs(normal.variance - 1)).toBeLessThan(0.03);
  for (let i = 0; i < 1000; i++) expect(rng.integer(7)).toBeLessThan(7);
});
