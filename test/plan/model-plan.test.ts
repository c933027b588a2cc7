import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { ISAS } from "../../src/isa/index.ts";
import { defaultActivations } from "../../src/plan/activations.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { type ModelProjection, planModel } from "../../src/plan/model-plan.ts";
import { packing } from "../../src/quant/packing.ts";
import { llama, projectionOf } from "./llama.ts";

const machine = genericMachine();

describe("planModel", () => {
  it("plans equal shapes once", () => {
    const plan = planModel(machine, avx2, llama("Q4_0"));
    expect(plan.shapes.map(({ names, count }) => [names.join(" "), count])).toEqual([
      ["query attention-output", 64],
      ["key value", 64],
      ["gate up", 64],
      ["down", 32],
      ["output", 1],
    ]);
  });

  it("adds up times and bytes", () => {
    const plan = planModel(machine, avx2, llama("4bit-g128"), { prefillTokens: 32 });
    const sum = (of: (s: (typeof plan.shapes)[number]) => number) =>
      plan.shapes.map(of).reduce((a, b) => a + b);
    expect(plan.decode.seconds).toBeCloseTo(
      sum((s) => s.count * s.weights.decode.predicted.seconds),
      9,
    );
    const head = plan.shapes.at(-1)!.weights;
    const layers = sum((s) => s.prefillCount * s.weights.prefill.predicted.seconds);
    expect(plan.prefill.seconds).toBeCloseTo(layers + head.decode.predicted.seconds, 9);
    expect(plan.prefill.tokensPerSecond).toBeCloseTo(32 / plan.prefill.seconds);
    const bytes = sum(({ shape, count, weights }) => {
      return count * packing(shape.format, shape.rows, shape.cols, weights.tile, avx2).totalBytes;
    });
    expect(plan.weightBytes).toBe(bytes);
    expect(plan.fitsMemory).toBe(true);
  });

  it("reads the experts that tokens pass, and keeps all", () => {
    const experts = { count: 8, used: 2 };
    const dense = { ...projectionOf("up", "Q4_0", 512, 256), count: 3 };
    const stack: ModelProjection = { ...dense, shape: { ...dense.shape, experts } };
    const plan = planModel(machine, avx2, { projections: [stack] }, { prefillTokens: 256 });
    const { decode, prefill } = plan.shapes[0]!.weights;
    expect([decode.tokens, prefill.tokens]).toEqual([1, 64]);
    expect(plan.weightBytes).toBe(3 * 8 * decode.predicted.bytes);
    expect(plan.decode.seconds).toBeCloseTo(3 * 2 * decode.predicted.seconds, 12);
    expect(plan.prefill.seconds).toBeCloseTo(3 * 8 * prefill.predicted.seconds, 12);
    const wrong = { ...stack, shape: { ...dense.shape, experts: { count: 2, used: 3 } } };
    expect(() => planModel(machine, avx2, { projections: [wrong] })).toThrow(UsageError);
  });

  it("says when the weights do not fit", () => {
    const small = genericMachine({ memoryBytes: 2 ** 30 });
    expect(planModel(small, avx2, llama("Q8_0")).fitsMemory).toBe(false);
  });

  it("rejects wrong counts", () => {
    const wrong: ModelProjection = { ...projectionOf("q", "Q4_0", 64, 64), count: 0 };
    expect(() => planModel(machine, avx2, { projections: [wrong] })).toThrow(UsageError);
  });

  it("takes little time", () => {
    for (const isa of ISAS) {
      const times = [1, 2, 3].map(() => {
        const start = process.cpuUsage();
        planModel(machine, isa, llama("4bit-g128"));
        const { user, system } = process.cpuUsage(start);
        return (user + system) / 1000;
      });
      expect(Math.min(...times)).toBeLessThan(50);
    }
  });
});

describe("defaultActivations", () => {
  it.each([
    ["Q4_0", 4096, 32],
    ["4bit-g64", 4096, 64],
    ["4bit-g128", 4096, 128],
    ["4bit-row", 4096, 128],
    ["4bit-row", 4000, 32],
    ["4bit-row", 4160, 64],
  ])("%s, %i inputs: one scale per %i", (name, cols, block) => {
    const { format } = projectionOf("", name, 1, cols).shape;
    expect(defaultActivations(format, cols)).toEqual({ kind: "int8", block });
  });
});
