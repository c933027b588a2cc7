import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTuning, saveTuned, tuningPath } from "../../src/host/tuning.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { genericMachine, parseMachine } from "../../src/plan/machine.ts";
import { planWeights } from "../../src/plan/projection-plan.ts";
import { shapeKey } from "../../src/plan/shape.ts";
import { type TunedShape, withTuned } from "../../src/plan/tuning.ts";
import { entry, shape, temporaryCache } from "./tuned-shape.ts";

const { env } = temporaryCache();

describe("plans", () => {
  const plan = (tuned: readonly TunedShape[], threads = 2) =>
    planWeights(genericMachine({ tuned }), avx2, shape, { threads });

  it("take what was tuned for the shape, the ISA and the threads", () => {
    const { tuned, tile, blocking, decode, prefill } = plan([entry]);
    expect([tuned, tile]).toEqual([true, 2]);
    for (const chosen of [blocking, decode.blocking, prefill.blocking])
      expect(chosen).toEqual(entry.blocking);
    expect(decode.predicted.seconds).toBeGreaterThan(0);
    expect(plan([entry], 3).tuned).toBe(false);
    expect(plan([{ ...entry, isa: "avx512-vnni" }]).tuned).toBe(false);
  });

  it("tell matrices of experts from others of their shape", () => {
    const experts = { count: 8, used: 2 };
    const ofExperts = (tuned: readonly TunedShape[], own = experts) =>
      planWeights(genericMachine({ tuned }), avx2, { ...shape, experts: own }, { threads: 2 }).tuned;
    expect(ofExperts([entry])).toBe(false);
    const kept = { ...entry, shape: shapeKey({ ...shape, experts }) };
    expect(ofExperts([kept])).toBe(true);
    expect(ofExperts([kept], { count: 8, used: 3 })).toBe(false);
    expect(plan([kept]).tuned).toBe(false);
  });

  it("take nothing that is not a candidate", () => {
    for (const wrong of [{ nu: 5 }, { tb: 17 }, { tu: 12 }, { mb: 100 }]) {
      expect(plan([{ ...entry, blocking: { ...entry.blocking, ...wrong } }]).tuned).toBe(false);
    }
  });

  it("come with the machine in JSON", () => {
    const machine = genericMachine({ tuned: [entry] });
    expect(parseMachine(JSON.stringify(machine), "machine.json")).toEqual(machine);
  });
});

describe("the record", () => {
  const machine = genericMachine();

  it("is kept per machine, one entry for a shape", async () => {
    expect(loadTuning(machine, env)).toEqual({ tuning: [] });
    await saveTuned(machine, entry, env);
    const better = { ...entry, blocking: { ...entry.blocking, tu: 8, tb: 8 } };
    await saveTuned(machine, better, env);
    await saveTuned(machine, { ...entry, threads: 1 }, env);
    expect(loadTuning(machine, env)).toEqual({ tuning: [better, { ...entry, threads: 1 }] });
    expect(loadTuning({ ...machine, threads: 3 }, env).tuning).toEqual([]);
    expect(withTuned([entry], better)).toEqual([better]);
  });

  it("is not used when damaged, which is told, and is written anew", async () => {
    for (const text of ["", "{", '[{"isa":"avx2"}]', JSON.stringify([{ ...entry, blocking: { mb: -1 } }])]) {
      writeFileSync(tuningPath(machine, env), text);
      const { tuning, problem } = loadTuning(machine, env);
      expect(tuning).toEqual([]);
      expect(problem).toContain(tuningPath(machine, env));
    }
    await saveTuned(machine, entry, env);
    expect(loadTuning(machine, env)).toEqual({ tuning: [entry] });
  });
});
