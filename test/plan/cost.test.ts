import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { candidates } from "../../src/plan/candidates.ts";
import { predict } from "../../src/plan/cost.ts";
import { genericMachine, type Machine } from "../../src/plan/machine.ts";
import { microOps } from "../../src/plan/micro-ops.ts";
import type { ProjectionShape } from "../../src/plan/shape.ts";
import { FAMILY_BITS, FAMILY_GROUPS, familyFormat, formatNamed } from "../../src/quant/formats.ts";
import { anyIsa, anyMachine, anyShape, anyTokens } from "./arbitraries.ts";

/** 64 × 256, 4 bits in groups of 128, on AVX2: 8 row tiles of 8 chunks in 2 segments. */
const shape: ProjectionShape = {
  format: formatNamed("4bit-g128-sym"),
  rows: 64,
  cols: 256,
  activations: { kind: "int8", block: 128 },
};
const blocking = { mb: 256, tb: 8, mu: 128, tu: 8, nu: 1 };

describe("a projection counted by hand", () => {
  it("has these instructions", () => {
    // Chunk: 4 loads; low fields 4 · 1, high fields 4 · 2; 8 broadcasts; 8 links of 2, one close of 2.
    const chunk = { arithmetic: 4 + 8 + 16 + 2, loads: 4 + 8 };
    // Segment: f16 scale to f32 (and its load); sum to f32, scale · scale, multiply-add; 2 broadcasts and their loads.
    const segment = { arithmetic: 1 + 3 + 2, loads: 1 + 2 };
    const ops = microOps(avx2, shape, blocking);
    expect(ops.arithmetic).toBe(8 * chunk.arithmetic + 2 * segment.arithmetic); // 252
    expect(ops.loads).toBe(8 * chunk.loads + 2 * segment.loads); // 102
    expect(ops.control).toBe(2 * 3);
    expect(ops.latency).toBeLessThanOrEqual(8 * 8);
  });

  it("takes this long on a generic core", () => {
    const p = predict(genericMachine({ threads: 1 }), avx2, shape, blocking, 1, 1);
    // Tile: 252 / 3 cycles of arithmetic, half of 102 / 2 of loads; 8 tiles at 3 GHz.
    expect(p.computeSeconds).toBeCloseTo((8 * (84 + 51 / 2)) / 3e9, 12); // 292 ns
    // Tile: 2 groups of 8 scales of 2 bytes, 8 chunks of 4 · 4 bytes for 8 rows; 10 GB/s.
    expect(p.bytes).toBe(8 * (2 * 8 * 2 + 8 * 4 * 4 * 8));
    expect(p.memorySeconds).toBeCloseTo(8448 / 10e9, 12); // 845 ns
    // The row of inputs, once: 256 codes, 2 scales, 2 sums, in whole lines; 32 bytes a cycle.
    expect(p.cacheSeconds).toBeCloseTo(320 / 96e9, 12);
    // Each tile: 100 cycles to start, 2 to store, 3 for each of 2 groups.
    expect(p.overheadSeconds).toBeCloseTo((8 * (100 + 2 + 6)) / 3e9, 12); // 288 ns
    const data = p.memorySeconds + p.cacheSeconds;
    expect(p.seconds).toBeCloseTo(data + 0.25 * p.computeSeconds + p.overheadSeconds, 12);
    expect(p.limit).toBe("memory");
    expect(p.gops).toBeCloseTo((2 * 64 * 256) / p.seconds / 1e9, 6);
  });

  it("takes the slowest thread's share, and what memory gives to all", () => {
    const one = predict(genericMachine(), avx2, shape, blocking, 1, 1);
    const three = predict(genericMachine(), avx2, shape, blocking, 1, 3);
    expect(three.computeSeconds).toBeCloseTo((one.computeSeconds * 3) / 8, 12); // 8 tiles: 2, 3, 3
    expect(three.memorySeconds).toBeCloseTo((one.memorySeconds * 3) / 8, 12);
    const shared: Machine = genericMachine({
      measured: {
        readGBs: [
          { threads: 1, hugePages: false, gbs: 10 },
          { threads: 8, hugePages: false, gbs: 16 },
        ],
        int8Gops: [],
        f32Gflops: [],
        at: "2026-01-01T00:00:00Z",
      },
    });
    const eight = predict(shared, avx2, { ...shape, rows: 65536 }, blocking, 1, 8);
    expect(eight.memorySeconds).toBeCloseTo((8448 * 1024) / 16e9, 9);
    expect(eight.seconds - eight.memorySeconds).toBeCloseTo(1e-6, 12); // computing is hidden: the barrier only
  });
});

describe("predictions", () => {
  const withBandwidth = (machine: Machine, factor: number): Machine => {
    const points = [1, 4, 64].map((threads) => ({
      threads,
      hugePages: false,
      gbs: factor * 5 * threads ** 0.5,
    }));
    const at = "2026-01-01T00:00:00Z";
    return {
      ...machine,
      measured: { int8Gops: [], f32Gflops: [], ...machine.measured, readGBs: points, at },
    };
  };
  const sample = (list: ReturnType<typeof candidates>, index: number) => list[index % list.length]!;

  it("are never slower with more bandwidth", () => {
    fc.assert(
      fc.property(
        anyMachine,
        anyIsa,
        anyShape,
        anyTokens,
        fc.nat(),
        fc.double({ min: 1, max: 20, noNaN: true }),
        (machine, isa, shape, tokens, index, factor) => {
          const blocking = sample(candidates(isa, shape, tokens), index);
          const seconds = (m: Machine) => predict(m, isa, shape, blocking, tokens, m.threads).seconds;
          expect(seconds(withBandwidth(machine, factor))).toBeLessThanOrEqual(
            seconds(withBandwidth(machine, 1)),
          );
        },
      ),
    );
  });

  it("are never faster for more tokens or more rows", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, fc.nat(), (machine, isa, shape, tokens, index) => {
        const blocking = sample(candidates(isa, shape, tokens), index);
        const seconds = (n: number, rows: number) =>
          predict(machine, isa, { ...shape, rows }, blocking, n, machine.threads).seconds;
        expect(seconds(2 * tokens, shape.rows)).toBeGreaterThanOrEqual(seconds(tokens, shape.rows));
        expect(seconds(tokens, 2 * shape.rows)).toBeGreaterThanOrEqual(seconds(tokens, shape.rows));
      }),
    );
  });

  it("read no fewer bytes for more bits or smaller groups", () => {
    const bytes = (bits: number, group: number | "row") => {
      const format = familyFormat(bits, group, false);
      return predict(genericMachine(), avx2, { ...shape, format }, blocking, 1, 1).bytes;
    };
    for (const group of FAMILY_GROUPS) {
      const sizes = FAMILY_BITS.map((bits) => bytes(bits, group));
      expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
    }
    for (const bits of FAMILY_BITS) {
      const sizes = FAMILY_GROUPS.map((group) => bytes(bits, group));
      expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
    }
  });

  it("count more instructions for odd widths than for the even width above", () => {
    const ops = (bits: number) =>
      microOps(avx2, { ...shape, format: familyFormat(bits, 128, true) }, blocking);
    expect(ops(3).arithmetic).toBeGreaterThan(ops(4).arithmetic);
    expect(ops(3).loads).toBeLessThan(ops(4).loads);
  });
});
