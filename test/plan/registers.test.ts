import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import { registerUse } from "../../src/plan/registers.ts";
import type { ProjectionShape } from "../../src/plan/shape.ts";
import { formatNamed } from "../../src/quant/formats.ts";

const q4: ProjectionShape = {
  format: formatNamed("Q4_0"),
  rows: 64,
  cols: 4096,
  activations: { kind: "int8", block: 32 },
};

const blocking = (lanes: number, tile: number, nu: number) => ({
  mb: 4096,
  tb: 64,
  mu: 32,
  tu: tile * lanes,
  nu,
});

describe("registerUse", () => {
  // Stores to the stack in the group loop of gcc 12's code for the same blockings of Q4_0.
  it.each([
    [1, 8, 0],
    [2, 1, 0],
    [2, 2, 1],
    [2, 4, 25],
    [2, 8, 74],
    [4, 1, 0],
    [4, 2, 9],
    [4, 4, 42],
  ])("is what a compiler spills on AVX-512: %i row vectors, %i tokens: %i", (tile, nu, stores) => {
    const { spilled } = registerUse(avx512Vnni, q4, blocking(16, tile, nu));
    expect(Math.abs(spilled - stores)).toBeLessThanOrEqual(1);
  });

  it("adds up", () => {
    const use = registerUse(avx2, q4, blocking(8, 1, 8));
    expect(use).toEqual({
      accumulators: 16,
      weights: 8,
      inputs: 1,
      temporaries: 3,
      total: 28,
      available: 16,
      spilled: 12,
    });
  });

  it("holds float tiles of 2 row vectors and 4 tokens in 16 registers, but not twice that", () => {
    const f16 = { ...q4, format: formatNamed("F16"), activations: { kind: "f32" } } as const;
    expect(registerUse(avx2, f16, blocking(8, 2, 4)).spilled).toBe(0);
    expect(registerUse(avx2, f16, blocking(8, 2, 8)).spilled).toBeGreaterThan(0);
    expect(registerUse(avx2, f16, blocking(8, 4, 4)).spilled).toBeGreaterThan(0);
  });
});
