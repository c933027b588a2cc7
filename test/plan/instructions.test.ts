import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import { instructionsOf, registersOf } from "../../src/plan/instructions.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { projectionOf } from "./llama.ts";

const shapeOf = (format: string, cols: number) => projectionOf("w", format, 64, cols).shape;

describe("a micro-GEMV counted by hand", () => {
  // 256 inputs, 4 bits in groups of 128, on AVX2: 2 groups of 4 chunks.
  const shape = shapeOf("4bit-g128-sym", 256);
  const blocking = { mb: 256, tb: 8, mu: 128, tu: 8, nu: 1 };
  const [start, group, ...others] = instructionsOf(avx2, shape, blocking);

  it("has these instructions", () => {
    expect(others).toEqual([]);
    // The outputs are loaded, where results are added to them, and stored.
    expect(start).toMatchObject({ times: 1, arithmetic: 0, loads: 1, stores: 1 });
    // Chunk: low fields 4 · 1, high fields 4 · 2; 8 links of 2, one close of 2; 4 words, each
    // loaded for both of its fields, and 8 broadcasts.
    const chunk = { arithmetic: 4 + 8 + 16 + 2, loads: 2 * 4 + 8 };
    // Group: −8 · Σx into all lanes 2, f16 scale to f32 1, sum to f32, scale · scale, multiply-add; scales of W and x.
    const end = { arithmetic: 2 + 1 + 3, loads: 2 };
    const { reloads } = group?.registers ?? { reloads: 0 };
    expect(group?.times).toBe(2);
    expect(group?.arithmetic).toBeCloseTo(4 * chunk.arithmetic + end.arithmetic - 1, -1);
    expect(group?.loads).toBe(4 * chunk.loads + end.loads + reloads);
  });

  it("has a loop of its own where a segment is not unrolled", () => {
    const regions = instructionsOf(avx2, shape, { ...blocking, mu: 32 });
    expect(regions.map(({ times }) => times)).toEqual([1, 2, 8]);
  });

  it("has more instructions at odd widths than at the even width above", () => {
    const total = (bits: number) =>
      instructionsOf(avx2, shapeOf(`${bits}bit-g128-sym`, 256), { ...blocking, mu: 32 }).reduce(
        (sum, region) => sum + region.times * region.arithmetic,
        0,
      );
    expect(total(3)).toBeGreaterThan(total(4));
  });

  it("waits for its only sum where the weights are floats", () => {
    const regions = instructionsOf(avx2, shapeOf("F16", 256), { mu: 32, tu: 8, nu: 1 });
    const latency = regions.reduce((sum, region) => sum + region.times * region.latency, 0);
    expect(latency).toBeGreaterThanOrEqual(4 * 256);
    expect(latency).toBeLessThan(4.5 * 256);
  });
});

describe("registers", () => {
  // Stores to the stack in the group loop of gcc 12's code for these blockings of Q4_0.
  it.each([
    [avx512Vnni, 1, 8, 0],
    [avx512Vnni, 2, 4, 0],
    [avx512Vnni, 2, 8, 4],
    [avx512Vnni, 4, 2, 0],
    [avx512Vnni, 4, 4, 6],
    [avx512Vnni, 4, 8, 87],
    [avx2, 1, 8, 4],
    [avx2, 2, 2, 0],
    [avx2, 2, 4, 9],
    [avx2, 2, 8, 57],
    [avx2, 4, 1, 0],
    [avx2, 4, 2, 8],
    [avx2, 4, 4, 81],
  ])("are spilled as by a compiler on $name: %i row vectors, %i tokens: %i", (isa, tile, nu, stores) => {
    const blocking = { mb: 4096, tb: 64, mu: 32, tu: isa.lanes * tile, nu };
    const regions = instructionsOf(isa, shapeOf("Q4_0", 4096), blocking);
    expect(Math.abs(registersOf(regions).stores - stores)).toBeLessThanOrEqual(3 + 0.13 * stores);
  });

  it("hold float tiles of 2 row vectors and 4 tokens in 16 registers, but not twice that", () => {
    const shape = { ...shapeOf("F16", 4096), format: formatNamed("F16") };
    const stores = (tile: number, nu: number) =>
      registersOf(instructionsOf(avx2, shape, { mu: 32, tu: 8 * tile, nu })).stores;
    expect(stores(2, 4)).toBe(0);
    expect(stores(2, 8)).toBeGreaterThan(0);
    expect(stores(4, 4)).toBeGreaterThan(0);
  });
});
