import { afterEach, expect, test, vi } from "vitest";
import { type BenchmarkOptions, benchmarkModel, UsageError } from "../../src/api/index.ts";
import { Engine } from "../../src/engine/engine.ts";

const MODEL = {
  shape: {
    layers: 1,
    hiddenSize: 64,
    intermediateSize: 96,
    heads: 2,
    kvHeads: 1,
    vocabularySize: 300,
    contextLength: 64,
  },
  format: "4bit-g32",
};

afterEach(() => {
  vi.restoreAllMocks();
});

function bench(options: BenchmarkOptions) {
  return benchmarkModel(MODEL, { backend: "wasm", ...options });
}

/** Of every step the positions before it and its rows, while `action` runs. */
async function stepsOf(action: () => Promise<unknown>): Promise<(readonly [at: number, rows: number])[]> {
  const steps: [number, number][] = [];
  const step = Engine.prototype.step;
  vi.spyOn(Engine.prototype, "step").mockImplementation(function (this: Engine, rows, signal) {
    steps.push([rows[0]?.sequence.length ?? -1, rows.length]);
    return step.call(this, rows, signal);
  });
  await action();
  return steps;
}

test("the context is filled once, and every test starts behind it", async () => {
  const phases: string[] = [];
  const options = { promptTokens: 70, genTokens: 2, depth: 100, repeat: 2 };
  const steps = await stepsOf(() => bench({ ...options, onPhase: (what) => phases.push(what) }));
  // WebAssembly takes 64 rows a step.
  const fill = [
    [0, 64],
    [64, 36],
  ];
  const prefill = [
    [100, 64],
    [164, 6],
  ];
  const decode = [
    [100, 1],
    [101, 1],
  ];
  const tests = [...prefill, ...decode];
  expect(steps).toEqual([...fill, ...tests, ...tests, ...tests]);
  expect(phases).toEqual(["filling 100 positions of context", "warming up", "run 1 of 2", "run 2 of 2"]);
});

test("without depth both tests start with an empty context", async () => {
  const steps = await stepsOf(() => bench({ promptTokens: 3, genTokens: 2, repeat: 1 }));
  const tests = [
    [0, 3],
    [0, 1],
    [1, 1],
  ];
  expect(steps).toEqual([...tests, ...tests]);
});

test("what was found", async () => {
  const found = await bench({ promptTokens: 10, genTokens: 4, depth: 7, repeat: 3 });
  expect(found).toMatchObject({ backend: "wasm", threads: 1, depth: 7, repeat: 3 });
  const { prefill, decode } = found;
  for (const { tokens, seconds, tokensPerSecond } of [prefill, decode]) {
    const rates = seconds.map((time) => tokens / time).sort((a, b) => a - b);
    expect(tokensPerSecond).toEqual({ min: rates[0], median: rates[1], max: rates[2] });
  }
  // Of 64 × (q, o 64, k, v 32, gate, up, down 96) weights, and once for the prompt the output head.
  const operations = 2 * 64 * (2 * 64 + 2 * 32 + 3 * 96) + (2 * 64 * 300) / 10;
  expect(prefill.gops).toBeCloseTo((operations * prefill.tokensPerSecond.median) / 1e9, 9);
  const { weights, kvCache } = decode.bytesPerToken;
  expect(weights).toBe((64 * (2 * 64 + 2 * 32 + 3 * 96 + 300 + 1) * 19) / 32);
  expect(kvCache).toBe(2 * 32 * 2 * (7 + 2.5));
  expect(decode.gbs).toBeCloseTo(((weights + kvCache) * decode.tokensPerSecond.median) / 1e9, 9);
});

test.each([
  { depth: -1 },
  { depth: 1.5 },
  { promptTokens: 0 },
  { genTokens: 0 },
  { repeat: 0 },
  { depth: 60, promptTokens: 5, contextLength: 64 },
  { placement: "mapped" },
] as const)("rejects %o", async (options) => {
  await expect(bench(options)).rejects.toThrow(UsageError);
});
