import { describe, expect, test, vi } from "vitest";
import { AbortedError, MachineError } from "../../src/base/errors.ts";
import type { Backend, BackendRequest, MemoryUse, Region } from "../../src/engine/backend.ts";
import { InterpreterBackend } from "../../src/engine/interpreter.ts";
import {
  type MeasureOptions,
  type MeasureSubject,
  measureMachine,
  readBufferBytes,
  threadCounts,
} from "../../src/engine/measure.ts";
import { median, timeRepeats } from "../../src/engine/stopwatch.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import { genericMachine, parseMachine } from "../../src/plan/machine.ts";

const GiB = 2 ** 30;
const EFFORT = { passMs: 1, passes: 2, bufferBytes: 16384 };
/** Caches and memory so small that 16 KiB are enough to measure with. */
const machine = genericMachine({
  caches: [{ level: 1, bytes: 1024, lineBytes: 64, sharedBy: 1 }],
  memoryBytes: GiB,
  hugePages: "madvise",
});

/** The interpreter in a native backend's clothes, which writes down what memory it was asked for. */
class FakeNative extends InterpreterBackend {
  readonly uses: MemoryUse[] = [];
  readonly released: number[] = [];
  disposed = false;

  override allocate(bytes: number, use: MemoryUse = "working"): Region {
    this.uses.push(use);
    return super.allocate(bytes);
  }

  override async dispose(): Promise<void> {
    this.disposed = true;
  }
}

function fake(over: Partial<MeasureSubject> = {}): { subject: MeasureSubject; opened: FakeNative[] } {
  const opened: FakeNative[] = [];
  const open = async (request: BackendRequest): Promise<Backend> => {
    const backend = new FakeNative({ ...request, capacity: request.capacity + 2 ** 20 });
    opened.push(backend);
    return backend;
  };
  return { subject: { kind: "native", isas: [avx512Vnni, avx2], threads: 2, open, ...over }, opened };
}

function measure(options: Partial<MeasureOptions> = {}) {
  return measureMachine(machine, { effort: EFFORT, ...options });
}

describe("measuring a machine", () => {
  test("every ISA, every number of threads, both kinds of pages", async () => {
    const { subject, opened } = fake();
    const texts: string[] = [];
    const measured = await measure({ subject, onProgress: ({ text }) => texts.push(text) });

    expect(measured.readGBs.map(({ threads, hugePages }) => [threads, hugePages])).toEqual([
      [1, false],
      [2, false],
      [1, true],
      [2, true],
    ]);
    for (const list of [measured.int8Gops, measured.f32Gflops]) {
      expect(list.map(({ isa, threads }) => [isa, threads])).toEqual([
        ["avx512-vnni", 1],
        ["avx512-vnni", 2],
        ["avx2", 1],
        ["avx2", 2],
      ]);
    }
    // Where a dot product takes several instructions, additions say nothing of it.
    expect(measured.addGops?.map(({ isa, threads }) => [isa, threads])).toEqual([
      ["avx512-vnni", 1],
      ["avx512-vnni", 2],
    ]);
    for (const { gbs, maxGbs } of measured.readGBs) expect(maxGbs).toBeGreaterThanOrEqual(gbs);
    expect(texts).toHaveLength(14);
    expect(texts[0]).toMatch(/^reads, 1 thread, small pages: [\d.]+ GB\/s$/);
    expect(opened.map((backend) => backend.disposed)).toEqual([true, true]);
    // Memory is measured once, with the best ISA.
    expect(opened.map((backend) => backend.uses.filter((use) => use === "weights").length)).toEqual([1, 0]);
    // It is what a machine description may hold.
    const described = { ...machine, measured };
    expect(parseMachine(JSON.stringify(described), "machine.json")).toEqual(described);
  });

  test("progress counts to its end", async () => {
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => {
      expect(total).toBe(14);
      seen.push(done);
    };
    await measure({ subject: fake().subject, onProgress });
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  });

  test("one kind of pages where the machine or the backend has no choice", async () => {
    const kinds = async (hugePages: "always" | "never" | "unknown", kind: "native" | "wasm" = "native") => {
      const { subject } = fake({ isas: [avx2], threads: 1, kind });
      const measured = await measureMachine({ ...machine, hugePages }, { subject, effort: EFFORT });
      return measured.readGBs.map((point) => point.hugePages);
    };
    expect(await kinds("always")).toEqual([true]);
    expect(await kinds("never")).toEqual([false]);
    expect(await kinds("unknown")).toEqual([false]);
    expect(await kinds("always", "wasm")).toEqual([false]);
  });

  test("an abort ends it and gives the backend back", async () => {
    const { subject, opened } = fake();
    const stop = new AbortController();
    const running = measure({ subject, signal: stop.signal, onProgress: () => stop.abort() });
    await expect(running).rejects.toThrow(AbortedError);
    expect(opened.map((backend) => backend.disposed)).toEqual([true]);
  });

  test("nothing to measure with", async () => {
    await expect(measure({ subject: fake({ isas: [] }).subject })).rejects.toThrow(MachineError);
  });
});

describe("sizes", () => {
  test("1 GiB, four times the last-level caches, a quarter of memory", () => {
    const caches = (bytes: number, sharedBy: number) =>
      genericMachine({
        caches: [{ level: 3, bytes, lineBytes: 64, sharedBy }],
        physicalCores: 64,
        logicalCores: 64,
        memoryBytes: 64 * GiB,
      });
    expect(readBufferBytes(caches(32 * 2 ** 20, 64), "native")).toBe(GiB);
    // Eight caches of 64 MiB.
    expect(readBufferBytes(caches(64 * 2 ** 20, 8), "native")).toBe(2 * GiB);
    expect(readBufferBytes(caches(64 * 2 ** 20, 8), "wasm")).toBe(GiB);
    expect(readBufferBytes({ ...caches(2 ** 25, 64), memoryBytes: 100_000_000 }, "native")).toBe(24_997_888);
  });

  test("numbers of threads", () => {
    expect(threadCounts(1)).toEqual([1]);
    expect(threadCounts(2)).toEqual([1, 2]);
    expect(threadCounts(4)).toEqual([1, 2, 3, 4]);
    expect(threadCounts(6)).toEqual([1, 2, 3, 4, 6]);
    expect(threadCounts(16)).toEqual([1, 2, 3, 4, 8, 16]);
    expect(threadCounts(24)).toEqual([1, 2, 3, 4, 8, 16, 24]);
  });
});

describe("stopwatch", () => {
  test("makes passes long enough, and forgets those that were held up", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const tried: number[] = [];
      // A repeat takes a tenth of a millisecond; the first trial is held up for as long as a pass should last.
      const prepare = (repeats: number) => async () => {
        tried.push(repeats);
        vi.advanceTimersByTime(tried.length === 1 ? 100 : repeats / 10);
      };
      const rates = await timeRepeats(prepare, { passMs: 100, passes: 3, bufferBytes: 0 });
      // 64 times as many at most, then 1.3 times as long as wanted.
      expect(tried).toEqual([1, 1, 64, 1300, 1300, 1300]);
      for (const rate of rates) expect(rate).toBeCloseTo(10_000, 6);
      expect(rates).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });

  test("median", () => {
    expect(median([3])).toBe(3);
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});
