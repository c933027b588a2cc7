import { describe, expect, test } from "vitest";
import { MachineError, UsageError } from "../../src/base/errors.ts";
import { chooseBackend, chooseIsa, usableIsas } from "../../src/engine/choose.ts";
import type { Compiler, Compilers } from "../../src/host/compilers.ts";
import { ISAS, isaNamed } from "../../src/isa/index.ts";
import { genericMachine } from "../../src/plan/machine.ts";

const vnni = ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"];
const server = genericMachine({ features: [...genericMachine().features, ...vnni] });
const desktop = genericMachine();
const arm = genericMachine({ name: "arm", architecture: "arm64", features: ["asimd", "asimddp"] });

const gcc: Compiler = { path: "/usr/bin/cc", args: [], kind: "gcc", version: "gcc 12", foundAs: "cc" };
const compilers: Compilers = { working: [gcc], broken: [] };
const none: Compilers = { working: [], broken: [] };
const brokenChoice: Compilers = {
  working: [gcc],
  broken: [{ foundAs: "$QIGEN_CC", command: "icc", reason: "not found" }],
};

const names = (isas: readonly { name: string }[]) => isas.map(({ name }) => name);

describe("usable ISAs, best first", () => {
  test("native: those whose features the CPU has", () => {
    expect(names(usableIsas(server, "native"))).toEqual(["avx512-vnni", "avx2"]);
    expect(names(usableIsas(desktop, "native"))).toEqual(["avx2"]);
    expect(names(usableIsas(arm, "native"))).toEqual([]);
  });

  test("wasm and the interpreter ask nothing of the CPU", () => {
    for (const machine of [server, desktop, arm]) {
      expect(names(usableIsas(machine, "wasm"))).toContain("wasm-simd128");
      expect(usableIsas(machine, "interpreter")).toEqual(ISAS);
    }
  });
});

describe("the ISA", () => {
  test("the best the machine has", () => {
    expect(chooseIsa(server).name).toBe("avx512-vnni");
    expect(chooseIsa(desktop).name).toBe("avx2");
    expect(chooseIsa(arm).name).toBe("wasm-simd128");
    expect(chooseIsa(server, undefined, "wasm").name).toBe("wasm-simd128");
  });

  test("as asked for", () => {
    expect(chooseIsa(server, "avx2").name).toBe("avx2");
    expect(chooseIsa(server, "wasm-simd128").name).toBe("wasm-simd128");
    expect(chooseIsa(arm, "avx512-vnni", "interpreter").name).toBe("avx512-vnni");
  });

  test("a CPU without it: what it lacks, and what would work", () => {
    const choose = () => chooseIsa(desktop, "avx512-vnni");
    expect(choose).toThrow(MachineError);
    expect(choose).toThrow(
      "avx512-vnni needs CPU features that generic lacks: avx512f, avx512bw, avx512vl, avx512dq, avx512_vnni; " +
        "usable here: avx2, wasm-simd128",
    );
    expect(() => chooseIsa(arm, undefined, "native")).toThrow(MachineError);
  });

  test("an unknown name, and a backend that does not run it", () => {
    expect(() => isaNamed("avx3")).toThrow(UsageError);
    expect(() => chooseIsa(desktop, "avx3")).toThrow(
      `no instruction set "avx3"; there are ${ISAS.map(({ name }) => name).join(", ")}`,
    );
    expect(() => chooseIsa(desktop, "avx2", "wasm")).toThrow(UsageError);
    expect(() => chooseIsa(desktop, "wasm-simd128", "native")).toThrow(UsageError);
  });
});

describe("the backend", () => {
  const choose = (...args: Parameters<typeof chooseBackend>) => {
    const { kind, isa, reason } = chooseBackend(args[0], args[1], args[2], args[3] ?? "linux");
    return { kind, isa: isa.name, reason };
  };

  test("native where it can be", () => {
    expect(choose(desktop, compilers)).toEqual({ kind: "native", isa: "avx2", reason: "cc works" });
    expect(chooseBackend(desktop, compilers, {}, "linux").compiler).toBe(gcc);
  });

  test("else wasm, with the reason", () => {
    expect(choose(desktop, none)).toEqual({
      kind: "wasm",
      isa: "wasm-simd128",
      reason: "not native: no C compiler works",
    });
    expect(choose(arm, compilers).reason).toBe("not native: no instruction set for arm");
    expect(choose(desktop, compilers, {}, "win32").kind).toBe("wasm");
  });

  test("as asked for, by backend or by ISA", () => {
    expect(choose(desktop, compilers, { backend: "wasm" }).kind).toBe("wasm");
    expect(choose(desktop, compilers, { isa: "wasm-simd128" }).kind).toBe("wasm");
    expect(choose(desktop, none, { backend: "interpreter", isa: "avx2" })).toMatchObject({
      kind: "interpreter",
      isa: "avx2",
    });
    expect(choose(server, compilers, { isa: "avx2" })).toMatchObject({ kind: "native", isa: "avx2" });
  });

  test("what was asked for and cannot be is an error", () => {
    expect(() => choose(desktop, none, { backend: "native" })).toThrow(
      "the native backend cannot run: no C compiler works; the wasm backend can",
    );
    expect(() => choose(desktop, none, { isa: "avx2" })).toThrow(MachineError);
    expect(() => choose(desktop, compilers, { isa: "avx512-vnni" })).toThrow(MachineError);
    expect(() => choose(desktop, brokenChoice)).toThrow("$QIGEN_CC: icc: not found");
    expect(choose(desktop, brokenChoice, { backend: "wasm" }).kind).toBe("wasm");
  });
});
