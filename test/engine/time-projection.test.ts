import { expect, test } from "vitest";
import { alignUp } from "../../src/base/bytes.ts";
import { AbortedError } from "../../src/base/errors.ts";
import type { Backend, BackendRequest, Step } from "../../src/engine/backend.ts";
import { InterpreterBackend } from "../../src/engine/interpreter.ts";
import { timeInTurns } from "../../src/engine/stopwatch.ts";
import { ProjectionTimer } from "../../src/engine/time-projection.ts";
import { wasmSimd128 } from "../../src/isa/wasm-simd128.ts";
import { defaultActivations } from "../../src/plan/activations.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { packing } from "../../src/quant/packing.ts";

const format = formatNamed("Q4_0");
const shape = { format, rows: 8, cols: 64, activations: defaultActivations(format, 64) };
const one = { shape, tokens: 1, blocking: { mb: 64, tb: 4, mu: 32, tu: 4, nu: 1 } };
const three = { shape, tokens: 3, blocking: { mb: 64, tb: 8, mu: 32, tu: 8, nu: 2 } };
const cases = [one, three];
const slot = alignUp(packing(format, 8, 64, 1, wasmSimd128).totalBytes, 64);
const effort = { passMs: 0.01, passes: 2, bufferBytes: 3 * slot };

/** A timer in the interpreter, and every step that it ran. */
async function timer(signal?: AbortSignal): Promise<{ timer: ProjectionTimer; ran: Step[] }> {
  const ran: Step[] = [];
  const open = async (request: BackendRequest): Promise<Backend> => {
    const backend = new InterpreterBackend(request);
    const run = backend.run.bind(backend);
    backend.run = async (program, stop) => {
      await run(program, stop);
      ran.push(...program.steps);
    };
    return backend;
  };
  const request = { open, isa: wasmSimd128, threads: 1, cases, effort, signal };
  return { timer: await ProjectionTimer.create(request), ran };
}

test("cases are timed in turns, each call on the next copy of the weights", async () => {
  const { timer: it, ran } = await timer();
  const timings = await it.time(cases);
  expect(timings).toHaveLength(2);
  for (const [i, { seconds, passes, gbs, gops }] of timings.entries()) {
    expect(passes).toHaveLength(2);
    expect(gbs).toBeCloseTo((8 * 2 * 18) / seconds / 1e9, 12);
    expect(gops).toBeCloseTo((2 * 8 * 64 * (cases[i]?.tokens ?? 0)) / seconds / 1e9, 12);
  }
  const [first, ...rest] = ran
    .filter(({ kernel }) => kernel.includes("_tu4_"))
    .map((s) => s.arguments[0] ?? 0);
  expect(rest.length).toBeGreaterThan(2);
  rest.forEach((address, i) => expect(address - (first ?? 0)).toBe(slot * ((i + 1) % 3)));
  const seconds = await it.timePreparation(cases);
  expect(seconds.every((s) => s > 0)).toBe(true);
  await it.dispose();
});

test("the signal ends it", async () => {
  const controller = new AbortController();
  const { timer: it } = await timer(controller.signal);
  const timing = it.time(cases, () => controller.abort());
  await expect(timing).rejects.toThrow(AbortedError);
  await it.dispose();
});

test("passes are as long as wanted, and reported", async () => {
  const counts: number[] = [];
  const work = async (count: number) => {
    counts.push(count);
    const end = performance.now() + count;
    while (performance.now() < end);
  };
  const progress: string[] = [];
  const seconds = await timeInTurns([work, work], { passMs: 8, passes: 2 }, (done, total) =>
    progress.push(`${done}/${total}`),
  );
  expect(progress).toEqual(["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]);
  expect(seconds.map((s) => s.length)).toEqual([2, 2]);
  // The first call does not count; then 1 and 4 of 1 ms are tried, or 1 that took long enough.
  expect(counts.slice(0, 2)).toEqual([1, 1]);
  expect(Math.max(...counts)).toBeLessThanOrEqual(8);
});
