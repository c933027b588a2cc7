import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/engine/backend.ts";
import type { Kernel, Statement } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import { ISAS } from "../../src/isa/index.ts";
import type { Isa } from "../../src/isa/isa.ts";
import {
  addPeak,
  f32Peak,
  int8Peak,
  MEASURE_PAGE,
  READ_PREFETCHES,
  RESULT_STRIDE,
  readBandwidth,
  touchPages,
} from "../../src/kernels/measure.ts";
import { need, TARGETS, type TestTarget } from "../backends.ts";

const THREADS = 3;
const PAGES = 7;
const UNTOUCHED = 0x5a5a5a5a;

/** Runs kernels on a target; `results` starts out as a pattern that no kernel leaves by chance. */
async function withBackend(
  target: TestTarget,
  kernels: readonly Kernel[],
  body: (bench: Bench) => Promise<void>,
): Promise<void> {
  for (const kernel of kernels) verify(kernel);
  const backend = await target.create({ threads: THREADS, kernels, capacity: 2 ** 20 });
  try {
    await body(new Bench(backend));
  } finally {
    await backend.dispose();
  }
}

class Bench {
  readonly results: DataView;
  private readonly resultsAt: number;

  constructor(readonly backend: Backend) {
    const region = this.place(new Uint8Array(RESULT_STRIDE * THREADS).fill(0x5a));
    this.resultsAt = region.address;
    this.results = region.view;
  }

  place(bytes: Uint8Array): { address: number; view: DataView } {
    const region = this.backend.allocate(bytes.length, "plain");
    const view = region.view(0, bytes.length);
    view.set(bytes);
    return { address: region.address, view: new DataView(view.buffer, view.byteOffset, view.byteLength) };
  }

  async run(kernel: Kernel, ...values: number[]): Promise<void> {
    const step = { kernel: kernel.name, arguments: values, barrier: true };
    await this.backend.run(this.backend.prepare([step]));
  }

  async measure(kernel: Kernel, first: readonly number[], repeats: number, team: number): Promise<void> {
    await this.run(kernel, ...first, repeats, team, this.resultsAt);
  }

  i32(thread: number): number {
    return this.results.getInt32(thread * RESULT_STRIDE, true);
  }

  f32(thread: number): number {
    return this.results.getFloat32(thread * RESULT_STRIDE, true);
  }
}

describe.each(TARGETS)("$name", (target) => {
  const { isa } = target;

  test("reads: every thread of the team sums its share of the words", async (context) => {
    await need(target, context);
    const kernels = READ_PREFETCHES.map((prefetch) => readBandwidth(isa, prefetch));
    await withBackend(target, kernels, async (bench) => {
      const words = Int32Array.from({ length: (PAGES * MEASURE_PAGE) / 4 }, (_, i) => (i * 2654435761) | 0);
      const data = bench.place(new Uint8Array(words.buffer));
      for (const kernel of kernels) {
        for (let team = Math.min(2, bench.backend.threads); team <= bench.backend.threads; team++) {
          for (let thread = 0; thread < THREADS; thread++) {
            bench.results.setInt32(thread * RESULT_STRIDE, UNTOUCHED, true);
          }
          await bench.measure(kernel, [data.address, PAGES], 2, team);
          for (let thread = 0; thread < THREADS; thread++) {
            const page = (t: number) => (Math.floor((PAGES * t) / team) * MEASURE_PAGE) / 4;
            const share = words.subarray(page(thread), page(thread + 1));
            const sum = share.reduce((total, word) => (total + 2 * word) | 0, 0);
            expect(bench.i32(thread)).toBe(thread < team ? sum : UNTOUCHED);
          }
        }
      }
    });
  });

  test("pages: each has its number", async (context) => {
    await need(target, context);
    const kernel = touchPages(isa);
    await withBackend(target, [kernel], async (bench) => {
      const data = bench.place(new Uint8Array(PAGES * MEASURE_PAGE));
      await bench.run(kernel, data.address, PAGES);
      for (let page = 0; page < PAGES; page++) {
        expect(data.view.getInt32(page * MEASURE_PAGE, true)).toBe(page);
      }
    });
  });

  test("int8: the sum of all products", async (context) => {
    await need(target, context);
    const { kernel, inputs } = int8Peak(isa);
    await withBackend(target, [kernel], async (bench) => {
      const { address } = bench.place(inputs);
      const repeats = 11;
      await bench.measure(kernel, [address], repeats, 1);
      expect(bench.i32(0)).toBe(sumOfProducts(isa, inputs, repeats));
      expect(bench.i32(1)).toBe(UNTOUCHED);
    });
  });

  test("additions and exclusive ors", async (context) => {
    await need(target, context);
    const { kernel, inputs } = addPeak(isa);
    await withBackend(target, [kernel], async (bench) => {
      const { address } = bench.place(inputs);
      await bench.measure(kernel, [address], 1, 1);
      expect(bench.i32(0)).toBe(sumOfAdditions(isa, inputs));
    });
  });

  test("f32: v / 2 + 1 again and again", async (context) => {
    await need(target, context);
    const { kernel, inputs } = f32Peak(isa);
    await withBackend(target, [kernel], async (bench) => {
      const { address } = bench.place(inputs);
      await bench.measure(kernel, [address], 1, 1);
      // v − 2 is halved four times; all values and sums are multiples of 1/16 below 2^20: exact.
      const start = new Float32Array(inputs.buffer).slice(2 * isa.lanes);
      const sum = start.reduce((total, v) => total + 2 + (v - 2) / 16, 0);
      expect(bench.f32(0)).toBe(sum);
    });
  });
});

/** (v + a) ^ b four times for every start value v, added up in each lane and over all. */
function sumOfAdditions(isa: Isa, inputs: Uint8Array): number {
  const values = new Int32Array(inputs.buffer);
  let sum = 0;
  for (let at = 2 * isa.lanes; at < values.length; at++) {
    const [a, b] = [values[at % isa.lanes]!, values[isa.lanes + (at % isa.lanes)]!];
    let v = values[at]!;
    for (let step = 0; step < 4; step++) v = (v + a) ^ b;
    sum = (sum + v) | 0;
  }
  return sum;
}

/** The inputs as the kernel's text describes them: codes, then a window of 8 inputs that moves on with each repeat. */
function sumOfProducts(isa: Isa, inputs: Uint8Array, repeats: number): number {
  const register = 4 * isa.lanes;
  const codes = inputs.subarray(0, inputs.length - 64);
  const x = new Int8Array(inputs.buffer, inputs.byteOffset + codes.length);
  let sum = 0;
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (let input = 0; input < 8; input++) {
      for (let lane = 0; lane < isa.lanes; lane++) {
        for (let i = 0; i < 4; i++) {
          const value = x[4 * ((repeat % 8) + input) + i]!;
          for (let row = 0; row < codes.length; row += register) {
            sum += codes[row + isa.dotByte(lane, i)]! * value;
          }
        }
      }
    }
  }
  return sum | 0;
}

describe.each(ISAS)("operations on $name", (isa) => {
  test("additions: one for each lane of those in the loop", () => {
    const { kernel, operations } = addPeak(isa);
    const isAdd = (s: Statement) => s.kind === "op" && (s.op === "viadd" || s.op === "vixor");
    expect(operations).toBe(isa.lanes * countInLoop(kernel.body, (s) => (isAdd(s) ? 1 : 0)));
  });

  test("int8: two for each product in the loop", () => {
    const { kernel, operations } = int8Peak(isa);
    const links = countInLoop(kernel.body, (s) => (s.kind === "dot" ? 1 : 0));
    expect(operations).toBe(2 * 4 * isa.lanes * links);
    expect(links).toBeGreaterThanOrEqual(32);
  });

  test("f32: two for each lane of a multiply-add in the loop", () => {
    const { kernel, operations } = f32Peak(isa);
    const fmas = countInLoop(kernel.body, (s) => (s.kind === "op" && s.op === "vfma" ? 1 : 0));
    expect(operations).toBe(2 * isa.lanes * fmas);
  });

  test("accumulators fit the registers", () => {
    for (const { kernel } of [int8Peak(isa), f32Peak(isa), addPeak(isa)]) {
      expect(countVariables(kernel.body)).toBeLessThan(isa.registers);
    }
  });
});

function nested(s: Statement): readonly Statement[] {
  if (s.kind === "loop") return s.body;
  return s.kind === "if" ? [...s.body, ...s.otherwise] : [];
}

function countInLoop(body: readonly Statement[], count: (s: Statement) => number, inLoop = false): number {
  return body.reduce(
    (sum, s) => sum + (inLoop ? count(s) : 0) + countInLoop(nested(s), count, inLoop || s.kind === "loop"),
    0,
  );
}

function countVariables(body: readonly Statement[]): number {
  return body.reduce((sum, s) => sum + (s.kind === "variable" ? 1 : 0) + countVariables(nested(s)), 0);
}
