import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import { genericMachine, type Machine, type Measurements } from "../../src/plan/machine.ts";
import {
  DEFAULT_GHZ,
  DEFAULT_MEMORY_GBS,
  DEFAULT_THREAD_GBS,
  memoryGBs,
  speedsOf,
} from "../../src/plan/speeds.ts";

const measuring = (over: Partial<Measurements>, machine: Partial<Machine> = {}): Machine =>
  genericMachine({
    ...machine,
    measured: { readGBs: [], int8Gops: [], f32Gflops: [], at: "2026-01-01T00:00:00Z", ...over },
  });

describe("memoryGBs", () => {
  const points = [
    { threads: 2, hugePages: false, gbs: 20 },
    { threads: 4, hugePages: false, gbs: 30 },
    { threads: 2, hugePages: true, gbs: 25 },
  ];

  it.each([
    [1, 10],
    [2, 20],
    [3, 25],
    [4, 30],
    [64, 30],
  ])("reads measurements: %i threads, %d GB/s", (threads, gbs) => {
    expect(memoryGBs(measuring({ readGBs: points }), threads)).toBe(gbs);
  });

  it("takes huge pages where the machine has them", () => {
    expect(memoryGBs(measuring({ readGBs: points }, { hugePages: "madvise" }), 4)).toBe(25);
    expect(memoryGBs(measuring({ readGBs: points.slice(0, 2) }, { hugePages: "always" }), 4)).toBe(30);
  });

  it("assumes without measurements, and says so", () => {
    expect(memoryGBs(genericMachine(), 1)).toBe(DEFAULT_THREAD_GBS);
    expect(memoryGBs(genericMachine(), 64)).toBe(DEFAULT_MEMORY_GBS);
    expect(speedsOf(genericMachine(), avx2, 4)).toMatchObject({
      ghz: DEFAULT_GHZ,
      assumed: ["clock", "memory"],
    });
  });
});

describe("speedsOf", () => {
  it("finds the clock that explains dot products", () => {
    // vpdpbusd: 2 a cycle, 64 products each. 4 threads at 2.5 GHz.
    const gops = 4 * 2.5 * 2 * 64 * 2;
    const machine = measuring({ int8Gops: [{ isa: "avx512-vnni", threads: 4, gops }] });
    expect(speedsOf(machine, avx512Vnni, 4).ghz).toBeCloseTo(2.5);
    expect(speedsOf(machine, avx2, 4)).toMatchObject({ ghz: DEFAULT_GHZ, assumed: ["clock", "memory"] });
  });

  it("tells products from additions where both were measured", () => {
    // 2 threads at 3.5 GHz: two additions of 16 lanes a cycle.
    const addGops = [{ isa: "avx512-vnni", threads: 2, gops: 2 * 3.5 * 2 * 16 }];
    const speeds = (products: number) => {
      const int8Gops = [{ isa: "avx512-vnni", threads: 2, gops: 2 * 3.5 * products * 64 * 2 }];
      return speedsOf(measuring({ addGops, int8Gops }), avx512Vnni, 2);
    };
    expect(speeds(1).ghz).toBeCloseTo(3.5);
    expect(speeds(1).productsPerCycle).toBeCloseTo(1);
    expect(speeds(2).productsPerCycle).toBeCloseTo(2);
    // Timed while others used the core: none does less than one, or more products than additions.
    expect([speeds(0.6), speeds(2.4)].map((s) => s.productsPerCycle)).toEqual([1, 2]);
    expect(speedsOf(measuring({ addGops }), avx512Vnni, 2).productsPerCycle).toBeUndefined();
  });

  it("finds it from multiply-adds where that is what was measured", () => {
    const machine = measuring({ f32Gflops: [{ isa: "avx2", threads: 2, gflops: 2 * 3.5 * 2 * 8 * 2 }] });
    expect(speedsOf(machine, avx2, 2).ghz).toBeCloseTo(3.5);
  });

  it("divides shared caches among the threads that use them", () => {
    expect(speedsOf(genericMachine(), avx2, 1).capacity).toEqual({ L1: 32768, L2: 262144, L3: 8388608 });
    expect(speedsOf(genericMachine(), avx2, 64).capacity.L3).toBe(8388608 / 4);
    const small = genericMachine({ caches: genericMachine().caches.slice(0, 2) });
    expect(speedsOf(small, avx2, 1).capacity.L3).toBe(262144);
  });
});
