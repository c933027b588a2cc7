import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AbortedError } from "../../src/base/errors.ts";
import { type Diagnosis, diagnose, explainThreads, formatDiagnosis } from "../../src/engine/doctor.ts";
import { saveMeasurements } from "../../src/host/measurements.ts";
import { probeMachine } from "../../src/host/probe.ts";
import { parseMachine } from "../../src/plan/machine.ts";
import { expectGolden } from "../golden.ts";
import { asahi, common, graviton3, linux, zen4 } from "../host/machines.ts";

let folder: string;
/** Nothing on the path. */
let bare: { PATH: string; QIGEN_CACHE: string };

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "qigen-doctor-"));
  bare = { PATH: join(folder, "bin"), QIGEN_CACHE: join(folder, "cache") };
  mkdirSync(bare.PATH);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A compiler, as far as its version goes. */
function writeCompiler(): string {
  const path = join(folder, "gcc");
  const says = 'gcc (Fixture) 13.1.0"; echo "Copyright (C) 2023 Free Software Foundation, Inc.';
  writeFileSync(path, `#!/bin/sh\ncase $1 in -dumpmachine) echo fixture;; *) echo "${says}";; esac\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Without what differs from machine to machine. */
function settled(d: Diagnosis): Diagnosis {
  return JSON.parse(JSON.stringify({ ...d, node: "v20.0.0" }).replaceAll(folder, "/fixture")) as Diagnosis;
}

const posix = test.skipIf(process.platform === "win32");

describe("a recorded machine", () => {
  const measured = {
    readGBs: [
      { threads: 1, hugePages: false, gbs: 23.4, maxGbs: 24.11 },
      { threads: 8, hugePages: false, gbs: 51.2, maxGbs: 52 },
      { threads: 1, hugePages: true, gbs: 29 },
    ],
    int8Gops: [{ isa: "avx2", threads: 8, gops: 5678 }],
    f32Gflops: [{ isa: "avx2", threads: 8, gflops: 1234 }],
    at: "2026-01-02T03:04:05.678Z",
  };

  posix("Zen 4 with a compiler, and measurements", async () => {
    const sources = linux(zen4());
    const env = { ...bare, CC: writeCompiler(), QIGEN_CACHE: join(folder, "zen4") };
    await saveMeasurements(probeMachine(sources), measured, env);
    const d = settled(await diagnose({ sources, env }));
    expect(d.choice).toEqual({ backend: "native", isa: "avx2", reason: "$CC works" });
    expect(d.machine.measured).toEqual(measured);
    expect(d.trial).toBeUndefined();
    expectGolden("doctor-zen4.txt", formatDiagnosis(d, { width: 80 }));
  });

  test("Graviton 3 without one", async () => {
    const sources = linux(graviton3(), { arch: "arm64" });
    const d = settled(await diagnose({ sources, env: { ...bare, CC: "nowhere" } }));
    expect(d.choice).toEqual({
      backend: "wasm",
      isa: "wasm-simd128",
      reason: "not native: no instruction set for Neoverse-V1",
    });
    expectGolden("doctor-graviton3.txt", formatDiagnosis(d, { width: 80 }));
  });

  test("assumptions are listed", async () => {
    const sources = linux(asahi(), { arch: "arm64", readBytes: () => undefined, exec: () => "16384\n" });
    const text = formatDiagnosis(await diagnose({ sources, env: bare }));
    expect(text).toContain("Assumed\n  -  topology unknown");
  });

  test("a compiler that was asked for by name and fails: native is not passed over", async () => {
    const d = await diagnose({ sources: linux(zen4()), env: { ...bare, QIGEN_CC: "nowhere" } });
    expect(d.choice).toEqual({ problem: "$QIGEN_CC: nowhere: not found" });
    expect(formatDiagnosis(d)).toContain("problem  $QIGEN_CC: nowhere: not found");
  });

  test("packed weights in the cache are counted", async () => {
    const env = { ...bare, QIGEN_CACHE: join(folder, "packed weights") };
    const packed = join(env.QIGEN_CACHE, "packed");
    mkdirSync(packed, { recursive: true, mode: 0o700 });
    for (const digit of "ab") writeFileSync(join(packed, `${digit.repeat(32)}.packed`), new Uint8Array(1536));
    const d = await diagnose({ sources: linux(zen4()), env });
    expect(d.packed).toEqual({ folder: packed, files: 2, bytes: 3072 });
    expect(formatDiagnosis(d)).toContain("3 KiB in 2 files");
  });

  test("the machine in it is one that plans can be made for", async () => {
    const d = await diagnose({ sources: linux(zen4()), env: bare });
    expect(parseMachine(JSON.stringify(d.machine), "machine.json")).toEqual(d.machine);
  });
});

describe("this machine, without a compiler", () => {
  test("a kernel is built and run", async () => {
    const d = await diagnose({ env: bare });
    expect(d.choice).toMatchObject({ backend: "wasm", isa: "wasm-simd128" });
    expect(d.trial).toMatchObject({ works: true });
    expect(formatDiagnosis(d)).toMatch(/trial +passed: wasm-simd128/);
  });

  test("an abort is not a finding", async () => {
    await expect(diagnose({ env: bare, signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
  });
});

describe("the text", () => {
  test("fits the width, words longer than it apart", async () => {
    const d = await diagnose({ sources: linux(zen4()), env: bare });
    for (const width of [40, 60, 200]) {
      const tooLong = formatDiagnosis(settled(d), { width })
        .split("\n")
        .filter((line) => line.length > width);
      expect(tooLong).toEqual([]);
    }
  });
});

describe("why so many threads", () => {
  const explain = (files: Record<string, string>) => {
    const sources = linux(files);
    const machine = probeMachine(sources);
    return [machine.threads, explainThreads(machine, sources)];
  };

  test("cores, affinity, quota", () => {
    expect(explain(zen4())).toEqual([
      8,
      "one for each physical core; logical ones share a core's arithmetic",
    ]);
    expect(explain({ ...zen4(), ...common("0-2") })).toEqual([
      3,
      "the CPU affinity of this process allows 3 of 16 logical CPUs",
    ]);
    const quota = { "/sys/fs/cgroup/cpu.max": "250000 100000\n" };
    expect(explain({ ...zen4(), ...quota })).toEqual([
      2,
      "the control group allows the time of 2.5 CPUs, of 8 cores",
    ]);
  });
});
