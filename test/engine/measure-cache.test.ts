import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MachineError } from "../../src/base/errors.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { loadMeasurements, measurementsPath, saveMeasurements } from "../../src/host/measurements.ts";
import { probeMachine } from "../../src/host/probe.ts";
import { genericMachine, type Measurements } from "../../src/plan/machine.ts";
import { linux, zen4 } from "../host/machines.ts";

const measured: Measurements = {
  readGBs: [
    { threads: 1, hugePages: false, gbs: 12.5, maxGbs: 13 },
    { threads: 2, hugePages: true, gbs: 20 },
  ],
  int8Gops: [{ isa: "avx2", threads: 1, gops: 300 }],
  f32Gflops: [{ isa: "avx2", threads: 1, gflops: 90 }],
  at: "2026-01-02T03:04:05.678Z",
};

describe("measurements that were kept", () => {
  const machine = genericMachine();
  let folder: string;
  let env: { QIGEN_CACHE: string };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "qigen-measured-"));
    env = { QIGEN_CACHE: folder };
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("come back as they were", async () => {
    expect(loadMeasurements(machine, env)).toBeUndefined();
    const path = await saveMeasurements(machine, measured, env);
    expect(path).toBe(measurementsPath(machine, env));
    expect(loadMeasurements(machine, env)).toEqual(measured);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test("belong to a machine: another CPU, other caches or threads have none", async () => {
    await saveMeasurements(machine, measured, env);
    for (const over of [
      { name: "another" },
      { features: ["avx2"] },
      { caches: machine.caches.slice(0, 2) },
      { threads: 2 },
      { hugePages: "always" as const },
    ]) {
      expect(loadMeasurements({ ...machine, ...over }, env), JSON.stringify(over)).toBeUndefined();
    }
    // The order in which features are listed and free memory say nothing about speed.
    const same = { ...machine, features: [...machine.features].reverse(), memoryBytes: 2 ** 40 };
    expect(loadMeasurements(same, env)).toEqual(measured);
  });

  test.each([
    ["nothing", ""],
    ["half a file", JSON.stringify(measured).slice(0, 50)],
    ["another shape", "[]"],
    ["a missing field", JSON.stringify({ ...measured, int8Gops: undefined })],
    ["an unknown field", JSON.stringify({ ...measured, more: 1 })],
    ["an impossible speed", JSON.stringify({ ...measured, readGBs: [{ ...measured.readGBs[1], gbs: -1 }] })],
    ["no time", JSON.stringify({ ...measured, at: "yesterday" })],
    ["a huge file", `${JSON.stringify(measured)}${" ".repeat(2 ** 21)}`],
  ])("that are damaged are ignored: %s", (_, text) => {
    writeFileSync(measurementsPath(machine, env), text);
    expect(loadMeasurements(machine, env)).toBeUndefined();
  });

  test("replace damaged ones", async () => {
    writeFileSync(measurementsPath(machine, env), "{");
    await saveMeasurements(machine, measured, env);
    expect(loadMeasurements(machine, env)).toEqual(measured);
  });

  test.skipIf(process.getuid === undefined)("a folder that others may write to is not trusted", async () => {
    await saveMeasurements(machine, measured, env);
    chmodSync(folder, 0o777);
    expect(loadMeasurements(machine, env)).toBeUndefined();
    await expect(saveMeasurements(machine, measured, env)).rejects.toThrow(MachineError);
  });

  test("are part of what describes the machine", async () => {
    const sources = linux(zen4());
    expect(await describeMachine(env, sources)).toEqual(probeMachine(sources));
    await saveMeasurements(probeMachine(sources), measured, env);
    expect(await describeMachine(env, sources)).toEqual({ ...probeMachine(sources), measured });
  });
});
