import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadPlans, savePlans } from "../../src/host/plans.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { chooseBlocking, planWeights } from "../../src/plan/projection-plan.ts";
import { type TunedShape, unknownTo } from "../../src/plan/tuning.ts";
import { shape, temporaryCache, entry as tuned } from "./tuned-shape.ts";

const { folder, env } = temporaryCache();
const entry: TunedShape = { ...tuned, blocking: { ...tuned.blocking, expand: true } };
const machine = genericMachine();

describe("plans of earlier processes", () => {
  it("are kept for the machine and what was measured of it", async () => {
    expect(loadPlans(machine, env)).toEqual([]);
    const other = { ...entry, threads: 1 };
    await savePlans(machine, [entry], env);
    await savePlans(machine, [other], env);
    expect(loadPlans(machine, env)).toEqual([entry, other]);
    const measured = { readGBs: [], int8Gops: [], f32Gflops: [], at: "2026-01-01T00:00:00Z" };
    expect(loadPlans({ ...machine, measured }, env)).toEqual([]);
    expect(loadPlans({ ...machine, threads: 3 }, env)).toEqual([]);
  });

  it("are not used when damaged, and are written anew", async () => {
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), "[{");
    expect(loadPlans(machine, env)).toEqual([]);
    await savePlans(machine, [entry], env);
    expect(loadPlans(machine, env)).toEqual([entry]);
  });

  it("are those that no other record has", () => {
    const other = { ...entry, threads: 1 };
    expect(unknownTo([tuned], [entry, other])).toEqual([other]);
    expect(unknownTo([], [entry, other])).toEqual([entry, other]);
  });

  it("are no failure where they cannot be kept", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const nowhere = { QIGEN_CACHE: join(file, "cache") };
    await savePlans(machine, [entry], nowhere);
    expect(loadPlans({ ...machine, name: "another" }, nowhere)).toEqual([]);
  });

  it("decide where they know the shape, unless it was tuned", () => {
    const choose = (remembered: readonly TunedShape[], tuned: readonly TunedShape[] = []) =>
      chooseBlocking(genericMachine({ tuned }), avx2, shape, { threads: 2 }, remembered);
    const planned = planWeights(machine, avx2, shape, { threads: 2 }).blocking;
    expect(choose([entry])).toEqual(entry.blocking);
    expect(choose([{ ...entry, threads: 3 }])).toEqual(planned);
    expect(choose([{ ...entry, blocking: { ...entry.blocking, tb: 17 } }])).toEqual(planned);
    const timed = { ...entry, blocking: { ...entry.blocking, nu: 2 } };
    expect(choose([entry], [timed])).toEqual(timed.blocking);
  });
});
