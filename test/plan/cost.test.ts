import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import { defaultActivations } from "../../src/plan/activations.ts";
import { candidates } from "../../src/plan/candidates.ts";
import { predict } from "../../src/plan/cost.ts";
import { instructionsOf } from "../../src/plan/instructions.ts";
import { genericMachine, type Machine } from "../../src/plan/machine.ts";
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
  const cycles = () => {
    const regions = instructionsOf(avx2, shape, blocking);
    const sum = (of: (r: (typeof regions)[number]) => number) =>
      regions.reduce((n, r) => n + r.times * of(r), 0);
    const [arithmetic, loads] = [sum((r) => r.arithmetic) / 3, sum((r) => r.loads / 2 + r.stores)];
    const issued = sum((r) => r.arithmetic + r.loads + r.stores + r.scalar) / 5;
    return Math.max(Math.max(arithmetic, loads) + 0.3 * Math.min(arithmetic, loads), issued);
  };

  it("takes this long on a generic core", () => {
    const p = predict(genericMachine({ threads: 1 }), avx2, shape, blocking, 1, 1);
    // 8 tiles at 3 GHz.
    expect(p.computeSeconds).toBeCloseTo((8 * cycles()) / 3e9, 12);
    // Tile: 2 groups of 8 scales of 2 bytes, 8 chunks of 4 · 4 bytes for 8 rows; 10 GB/s.
    expect(p.bytes).toBe(8 * (2 * 8 * 2 + 8 * 4 * 4 * 8));
    expect(p.memorySeconds).toBeCloseTo(8448 / 10e9, 12); // 845 ns
    // The row of inputs, once: 256 codes, 2 scales, 2 sums, in whole lines; 32 bytes a cycle.
    expect(p.cacheSeconds).toBeCloseTo(320 / 96e9, 12);
    // Each tile: 180 cycles to start; each of the row blocks, of one tile: 60.
    expect(p.overheadSeconds).toBeCloseTo((8 * (180 + 60)) / 3e9, 12);
    const inCaches = p.computeSeconds + 0.05 * p.cacheSeconds;
    expect(p.seconds).toBeCloseTo(p.memorySeconds + 0.25 * inCaches + p.overheadSeconds, 12);
    expect(p.limit).toBe("memory");
    expect(p.gops).toBeCloseTo((2 * 64 * 256) / p.seconds / 1e9, 6);
  });

  it("takes the slowest thread's parts, and what memory gives to all", () => {
    const large = { ...shape, rows: 65536 }; // 8192 tiles of 1056 bytes: 45 parts of 192 KiB, at most 16 a thread
    const one = predict(genericMachine(), avx2, large, blocking, 1, 1);
    const three = predict(genericMachine(), avx2, large, blocking, 1, 3);
    expect(three.computeSeconds).toBeCloseTo((one.computeSeconds * 15) / 44, 9); // 44 parts: 15, 15, 14
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
    const eight = predict(shared, avx2, large, blocking, 1, 8);
    const bytes = 1056 * 8192;
    expect(eight.memorySeconds).toBeGreaterThan(bytes / 16e9);
    expect(eight.memorySeconds).toBeLessThan(1.2 * (bytes / 16e9));
    // Memory is the limit of all eight together: computing is hidden.
    expect(eight.seconds).toBeLessThan(1.1 * (bytes / 16e9));
  });

  it("costs more in blocks of inputs, whose weights do not follow one another", () => {
    const wide = { ...shape, rows: 4096, cols: 4096 };
    const seconds = (mb: number, tb: number) =>
      predict(genericMachine({ threads: 1 }), avx2, wide, { ...blocking, mb, tb }, 1, 1).seconds;
    expect(seconds(1024, 64)).toBeGreaterThan(1.1 * seconds(4096, 64));
    expect(seconds(1024, 16)).toBeLessThan(seconds(1024, 64));
  });
});

describe("a core with fewer products than other instructions in a cycle", () => {
  const cores = (products: number) =>
    genericMachine({
      threads: 1,
      measured: {
        readGBs: [{ threads: 1, hugePages: false, gbs: 30 }],
        int8Gops: [{ isa: "avx512-vnni", threads: 1, gops: 3.5 * products * 64 * 2 }],
        f32Gflops: [],
        addGops: [{ isa: "avx512-vnni", threads: 1, gops: 3.5 * 2 * 16 }],
        at: "2026-01-01T00:00:00Z",
      },
    });
  const format = formatNamed("Q4_0");
  const wide = { format, rows: 4096, cols: 4096, activations: defaultActivations(format, 4096) };
  const micro = { mb: 4096, tb: 64, mu: 32, tu: 64, nu: 4 };
  const ratio = (products: number) => {
    const seconds = (expand: boolean) =>
      predict(cores(products), avx512Vnni, wide, { ...micro, expand }, 256, 1).computeSeconds;
    return seconds(true) / seconds(false);
  };

  it("gains less where codes are unpacked once for all tokens, as that goes on beside the products", () => {
    expect(ratio(2)).toBeLessThan(0.85);
    expect(ratio(1)).toBeGreaterThan(0.97);
  });
});

describe("reading weights from memory", () => {
  /** Seconds for each byte, in tiles of so many row vectors. */
  const perByte = (name: string, tile: number) => {
    const format = formatNamed(name);
    const wide = { format, rows: 4096, cols: 4096, activations: defaultActivations(format, 4096) };
    const tu = 16 * tile;
    const p = predict(
      genericMachine({ threads: 1 }),
      avx512Vnni,
      wide,
      { mb: 4096, tb: tu, mu: 32, tu, nu: 1 },
      1,
      1,
    );
    return p.memorySeconds / p.bytes;
  };

  it.each([
    ["Q4_0", 4, 1],
    ["Q8_0", 2, 1],
    ["Q8_0", 4, 1 + 16 * 0.017], // 32 lines of codes in a chunk
    ["NVFP4", 2, 1],
    ["NVFP4", 4, 1 + 16 * 0.017], // 16 lines for half of a chunk's inputs
    ["Q6_K", 2, 1], // 4 of 6 words for half of them: as 16 lines
    ["Q4_K", 4, 1 + 4 * 0.017], // 20 bytes of a row in the header, 64 rows
  ])("%s in tiles of %i row vectors takes %d times as long as what is followed", (name, tile, times) => {
    expect(perByte(name, tile) / perByte("Q4_0", 1)).toBeCloseTo(times, 9);
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

  // With several threads they may be: a larger matrix has more parts to share.
  it("are never faster for more tokens or more rows on one thread", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, fc.nat(), (machine, isa, shape, tokens, index) => {
        const blocking = sample(candidates(isa, shape, tokens), index);
        const seconds = (n: number, rows: number) =>
          predict(machine, isa, { ...shape, rows }, blocking, n, 1).seconds;
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
});
