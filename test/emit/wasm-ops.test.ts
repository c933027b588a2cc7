import { describe, expect, test } from "vitest";
import { alignUp } from "../../src/base/bytes.ts";
import { STEP_BYTES } from "../../src/emit/step-layout.ts";
import type { WasmMemory } from "../../src/emit/wasm.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import { wasmSimd128 } from "../../src/isa/wasm-simd128.ts";
import { difference, type OpCase, relocate } from "../ir/case-draft.ts";
import { casesOf, opsOf } from "../ir/op-cases.ts";
import { instantiate, type WasmModule } from "./wasm-module.ts";

const PAGE = 65536;
/** The start of memory holds the cancel word, 0. */
const CANCEL = 0;
const STEPS = 16;

/** Where each case lies in one memory, after the steps. */
interface Place {
  readonly opCase: OpCase;
  readonly base: number;
}

function places(cases: readonly OpCase[]): { placed: Place[]; size: number } {
  let end = alignUp(STEPS + STEP_BYTES * cases.length, 64);
  const placed = cases.map((opCase) => {
    const base = end;
    end = alignUp(end + opCase.memory.length, 64);
    return { opCase, base };
  });
  return { placed, size: end };
}

/** Every case is a kernel of one module, and a step of one run. */
function runAll(placed: readonly Place[], size: number, limits: Omit<WasmMemory, "pages">): WasmModule {
  const kernels = placed.map(({ opCase }) => opCase.kernel);
  const module = instantiate(kernels, wasmSimd128, { pages: Math.ceil(size / PAGE), ...limits });
  placed.forEach(({ opCase, base }, i) => {
    module.bytes.set(relocate(opCase, BigInt(base)), base);
    module.view.setInt32(STEPS + STEP_BYTES * i, i, true);
    module.view.setInt32(STEPS + STEP_BYTES * i + 8, base + opCase.argumentsAddress, true);
  });
  expect(module.run(STEPS, placed.length, CANCEL)).toBe(placed.length);
  return module;
}

const cases = casesOf(wasmSimd128);
const { placed, size } = places(cases);

describe.each([{}, { maximum: PAGE, shared: true }])("every op on wasm-simd128, with memory %o", (limits) => {
  const { bytes } = runAll(placed, size, limits);

  test.each(opsOf(wasmSimd128))("%s", (op) => {
    const ofOp = placed.filter(({ opCase }) => opCase.op === op);
    expect(ofOp.length).toBeGreaterThan(0);
    for (const { opCase, base } of ofOp) {
      const expected = opCase.memory.slice();
      new Interpreter(opCase.kernel).run(expected.buffer, opCase.argumentsAddress, 1);
      expect(difference(opCase, expected, bytes.slice(base, base + expected.length))).toBeUndefined();
    }
  });
});
