import { describe, expect, test } from "vitest";
import {
  explainProjection,
  familyFormat,
  formatNamed,
  generateProjection,
  genericMachine,
  ISAS,
  isaNamed,
  printKernel,
  UnsupportedError,
  UsageError,
} from "../../src/api/codegen.ts";

describe("generateProjection", () => {
  test.each(ISAS.map((isa) => isa.name))("%s: plan, kernel and code agree", (isa) => {
    const request = { isa, format: "4bit-g128", rows: 256, cols: 512, tokens: 32 };
    const { plan, kernel, code } = generateProjection(request);
    expect(plan).toMatchObject({ isa, tokens: 32 });
    expect(code.ir).toBe(printKernel(kernel));
    const text = isaNamed(isa).syntax === "c" ? code.c : code.wasm;
    expect(text).toContain(kernel.name);
    expect(Object.keys(code)).toHaveLength(2);
    expect(explainProjection(plan, genericMachine())).toContain(`tu ${plan.blocking.tu}`);
  });

  test("names and values say the same, any case", () => {
    const shape = { rows: 64, cols: 256 };
    const named = generateProjection({ ...shape, isa: "avx2", format: "3BIT-G64-SYM" });
    const given = generateProjection({ ...shape, isa: isaNamed("avx2"), format: familyFormat(3, 64, true) });
    expect(named.code).toEqual(given.code);
  });

  test("the plan follows the machine and the threads", () => {
    const request = { isa: "avx2", format: "Q4_0", rows: 4096, cols: 4096 };
    const one = generateProjection({ ...request, threads: 1 });
    const four = generateProjection({ ...request, machine: genericMachine() });
    expect(four.plan.threads).toBe(4);
    expect(four.plan.predicted.seconds).toBeLessThan(one.plan.predicted.seconds);
  });

  test("activations in f32 make another kernel", () => {
    const request = { isa: "avx2", format: formatNamed("Q8_0"), rows: 64, cols: 64 };
    const exact = generateProjection({ ...request, activations: "f32" });
    expect(exact.plan.shape.activations).toEqual({ kind: "f32" });
    expect(exact.kernel.name).not.toBe(generateProjection(request).kernel.name);
  });

  test("what is wrong is named", () => {
    const request = { isa: "avx2", format: "Q4_0", rows: 64, cols: 64 };
    expect(() => generateProjection({ ...request, cols: 1.5 })).toThrow(UsageError);
    expect(() => generateProjection({ ...request, tokens: 0 })).toThrow(/tokens/);
    expect(() => generateProjection({ ...request, isa: "mmx" })).toThrow(/mmx/);
    expect(() => generateProjection({ ...request, format: "Q9_9" })).toThrow(UnsupportedError);
  });
});
