import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { at } from "../../src/base/assert.ts";
import { UsageError } from "../../src/base/errors.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { type Blocking, tokenSteps } from "../../src/kernels/blocking.ts";
import { candidates } from "../../src/plan/candidates.ts";
import { predict } from "../../src/plan/cost.ts";
import { instructionsOf, registersOf } from "../../src/plan/instructions.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { MARGIN, type ProjectionPlan, planProjection, planWeights } from "../../src/plan/projection-plan.ts";
import type { ProjectionShape } from "../../src/plan/shape.ts";
import { speedsOf } from "../../src/plan/speeds.ts";
import { workingSets } from "../../src/plan/working-set.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { anyIsa, anyMachine, anyShape, anyTokens } from "./arbitraries.ts";

const misfits = ({ registers, workingSets }: Pick<ProjectionPlan, "registers" | "workingSets">) =>
  Number(registers.stores > 0) + workingSets.filter((set) => !set.fits).length;

/** The micro-GEMV that most tokens pass. */
function mostTokens(isa: Isa, shape: ProjectionShape, blocking: Blocking, tokens: number) {
  const { size, expanded } = at(tokenSteps(blocking, tokens), 0);
  return instructionsOf(isa, shape, { ...blocking, nu: size }, expanded ? "expanded" : "packed");
}

describe("planProjection", () => {
  it("chooses a legal blocking, none of which is predicted to be clearly faster", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, (machine, isa, shape, tokens) => {
        const plan = planProjection(machine, isa, shape, { tokens });
        const all = candidates(isa, shape, tokens);
        expect(all).toContainEqual(plan.blocking);
        const { threads, predicted } = plan;
        const seconds = all.map((b) => predict(machine, isa, shape, b, tokens, threads).seconds);
        expect(predicted.seconds).toBeLessThanOrEqual(Math.min(...seconds) * MARGIN);
      }),
      { numRuns: 60 },
    );
  });

  it("prefers what fits registers and caches unless that is clearly slower", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, (machine, isa, shape, tokens) => {
        const plan = planProjection(machine, isa, shape, { tokens });
        const { threads } = plan;
        const speeds = speedsOf(machine, isa, threads);
        const all = candidates(isa, shape, tokens).map((blocking) => ({
          seconds: predict(machine, isa, shape, blocking, tokens, threads).seconds,
          registers: registersOf(mostTokens(isa, shape, blocking, tokens)),
          workingSets: workingSets(speeds, isa, shape, blocking, tokens),
        }));
        const least = Math.min(...all.map((c) => c.seconds));
        const roomier = all.filter((c) => misfits(c) < misfits(plan) && c.seconds <= least * MARGIN);
        expect(roomier).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("predicts finite times that add up", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, (machine, isa, shape, tokens) => {
        const { predicted: p, order, workingSets } = planProjection(machine, isa, shape, { tokens });
        const parts = [p.computeSeconds, p.memorySeconds, p.cacheSeconds, p.overheadSeconds];
        for (const part of parts) expect(Number.isFinite(part) && part >= 0).toBe(true);
        expect(p.seconds).toBeGreaterThanOrEqual(Math.max(...parts) * (1 - 1e-12));
        expect(p.seconds).toBeLessThanOrEqual(parts.reduce((a, b) => a + b) * (1 + 1e-12));
        expect(p.gbs).toBeCloseTo(p.bytes / p.seconds / 1e9);
        expect(order.every(({ rounds }) => Number.isInteger(rounds) && rounds >= 1)).toBe(true);
        expect(workingSets.every(({ bytes }) => Number.isInteger(bytes) && bytes > 0)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("keeps the row tile it is given", () => {
    const shape = {
      format: formatNamed("Q4_0"),
      rows: 4096,
      cols: 4096,
      activations: { kind: "int8", block: 32 },
    } as const;
    for (const tu of [8, 16, 32]) {
      expect(planProjection(genericMachine(), avx2, shape, { tokens: 7, tu }).blocking.tu).toBe(tu);
    }
    expect(() => planProjection(genericMachine(), avx2, shape, { tokens: 7, tu: 24 })).toThrow(UsageError);
  });

  it("rejects what is not a count", () => {
    const shape = { format: formatNamed("F32"), rows: 8, cols: 8, activations: { kind: "f32" } } as const;
    for (const wrong of [0, -1, 1.5, Number.NaN]) {
      expect(() => planProjection(genericMachine(), avx2, shape, { tokens: wrong })).toThrow(/tokens/);
      expect(() => planProjection(genericMachine(), avx2, { ...shape, rows: wrong }, { tokens: 1 })).toThrow(
        /rows/,
      );
    }
  });
});

describe("planWeights", () => {
  it("gives both steps one packing and one kernel", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, (machine, isa, shape) => {
        const { tile, blocking, decode, prefill } = planWeights(machine, isa, shape);
        expect(blocking.tu).toBe(tile * isa.lanes);
        expect([decode.blocking, prefill.blocking]).toEqual([blocking, blocking]);
        expect(decode.predicted.bytes).toBe(prefill.predicted.bytes);
        expect([decode.tokens, prefill.tokens]).toEqual([1, 256]);
      }),
      { numRuns: 60 },
    );
  });

  it("chooses a blocking that none serves a request of equal parts clearly better than", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, (machine, isa, shape) => {
        const plan = planWeights(machine, isa, shape, { prefillTokens: 64 });
        const seconds = (blocking: Blocking) => {
          const of = (n: number) => predict(machine, isa, shape, blocking, n, machine.threads).seconds;
          return 64 * of(1) + of(64);
        };
        const all = candidates(isa, shape, 64);
        expect(all).toContainEqual(plan.blocking);
        expect(seconds(plan.blocking)).toBeLessThanOrEqual(MARGIN * Math.min(...all.map(seconds)));
      }),
      { numRuns: 30 },
    );
  });
});
