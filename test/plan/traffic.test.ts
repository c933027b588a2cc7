import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { activationLayout } from "../../src/kernels/activations.ts";
import { roundsOf } from "../../src/plan/rounds.ts";
import { trafficOf } from "../../src/plan/traffic.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { packing } from "../../src/quant/packing.ts";

const format = formatNamed("Q4_0");
const [rows, cols] = [1024, 4096];
const layout = activationLayout({ kind: "int8", block: 32 }, format, cols, avx2); // 5120 bytes a token
const pack = packing(format, rows, cols, 1, avx2); // 128 tiles of 18 KiB
const weights = pack.totalBytes;
const capacity = { L1: 32 << 10, L2: 256 << 10, L3: 1 << 20 };

const traffic = (over: { tb: number; mb?: number; tokens: number; threads?: number }) => {
  const { tb, mb = cols, tokens, threads = 1 } = over;
  const blocking = { mb, tb, mu: 32, tu: 8, nu: 4 };
  const rounds = roundsOf(blocking, pack, tokens, threads);
  return trafficOf(capacity, layout, blocking, rounds, pack, threads);
};

describe("trafficOf", () => {
  it("reads weights from memory once, and again from where a row block fits", () => {
    const inputs = 16 * layout.rowBytes;
    // 8 tiles: 144 KiB in L2; every block reads 16 tokens, 80 KiB, and its tiles but the first read them again.
    expect(traffic({ tb: 64, tokens: 16 })).toEqual({
      memory: weights,
      memoryOfAll: weights,
      L2: 3 * weights + 16 * inputs + 112 * inputs,
      L3: 0,
    });
    // 32 tiles: 576 KiB.
    expect(traffic({ tb: 256, tokens: 16 }).L3).toBe(3 * weights + 4 * inputs);
    // 128 tiles: more than L3.
    expect(traffic({ tb: 1024, tokens: 16 }).memory).toBe(4 * weights + inputs);
  });

  it("keeps the inputs of a smaller block in L1, and pays for partial sums", () => {
    const inputs = 16 * layout.rowBytes;
    const { memory, L2, L3 } = traffic({ tb: 64, mb: 1024, tokens: 16 });
    expect([memory, L3]).toEqual([weights, 0]);
    expect(L2).toBe(3 * weights + 16 * inputs + 2 * 3 * 4 * 16 * rows);
  });

  it("counts a thread's parts, and memory for all threads", () => {
    // 128 tiles, a part each: 100 threads take one or two.
    const { memory, memoryOfAll } = traffic({ tb: 8, tokens: 16, threads: 100 });
    expect([memory, memoryOfAll]).toEqual([2 * pack.tileBytes, weights]);
    // One token: 12 parts of 192 KiB for 3 threads.
    const decode = roundsOf({ mb: cols, tb: 8, mu: 32, tu: 8, nu: 1 }, pack, 1, 3);
    expect(decode).toEqual({
      share: (4 * 128) / 12,
      rowBlocks: 44,
      inputBlocks: 1,
      tokens: 1,
      tokenSteps: 1,
      expandedSteps: 0,
      blockTiles: 1,
    });
  });
});
