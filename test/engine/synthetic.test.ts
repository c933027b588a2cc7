import { describe, expect, test } from "vitest";
import { UnsupportedError, UsageError } from "../../src/base/errors.ts";
import type { EngineOptions } from "../../src/engine/load-model.ts";
import { loadEngine } from "../../src/engine/load-model.ts";
import { modelName, openSynthetic } from "../../src/engine/synthetic.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { blockOf } from "../../src/quant/blocks.ts";
import { FORMATS, formatNamed } from "../../src/quant/formats.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";

const SHAPE = {
  layers: 2,
  hiddenSize: 160,
  intermediateSize: 192,
  heads: 5,
  kvHeads: 5,
  vocabularySize: 300,
  contextLength: 64,
};

/** Of which rows are whole blocks in every format. */
const BLOCKS = { ...SHAPE, hiddenSize: 256, intermediateSize: 512, heads: 8, kvHeads: 4 };

/** Logits after three tokens at once, then one more. */
async function logitsOf(format: string, options: EngineOptions): Promise<readonly Float32Array[]> {
  const machine = genericMachine({ features: ["avx", "avx2", "f16c", "fma"] });
  const engine = await loadEngine(
    openSynthetic({ shape: rowsFit(format) ? SHAPE : BLOCKS, format }),
    machine,
    options,
  );
  try {
    const sequence = engine.open();
    const row = (token: number) => ({ sequence, token, output: true });
    return [...(await engine.step([5, 6, 7].map(row))), ...(await engine.step([row(8)]))];
  } finally {
    await engine.dispose();
  }
}

function rowsFit(name: string): boolean {
  const format = formatNamed(name);
  return format.kind === "float" || blockOf(format, SHAPE.hiddenSize).chunkBytes !== undefined;
}

function expectSane(all: readonly Float32Array[]): void {
  expect(all).toHaveLength(4);
  for (const logits of all) {
    const mean = logits.reduce((sum, x) => sum + x, 0) / logits.length;
    const std = Math.sqrt(logits.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logits.length);
    // 2.5 are aimed at; a small model strays.
    expect(std).toBeGreaterThan(1);
    expect(std).toBeLessThan(5);
  }
}

describe("random weights in any format", () => {
  test.each([...FORMATS.keys()])("%s", async (format) => {
    expectSane(await logitsOf(format, { backend: "wasm" }));
  });

  const native = NATIVE_TARGETS[0] as TestTarget;
  test.for(["Q4_0", "3bit-g128"])(`%s on ${native.name}`, async (format, context) => {
    await need(native, context);
    expectSane(await logitsOf(format, { backend: "native", isa: native.isa.name, threads: 2 }));
  });
});

test("names", () => {
  expect(modelName("model.gguf")).toBe("model.gguf");
  expect(modelName({ shape: "llama-65b", format: "2bit-g128" })).toBe("synthetic llama-65b 2bit-g128");
  expect(modelName({ shape: SHAPE, format: "Q4_0", outputFormat: "Q8_0" })).toMatch(/output head Q8_0$/);
});

test("what is not known", () => {
  expect(() => openSynthetic({ shape: "gpt-2", format: "Q4_0" })).toThrow(UsageError);
  expect(() => openSynthetic({ shape: "llama-2-7b", format: "5bit" })).toThrow(UnsupportedError);
  expect(() => openSynthetic({ shape: { ...SHAPE, heads: 3 }, format: "Q4_0" })).toThrow(UsageError);
  expect(() => openSynthetic({ shape: SHAPE, format: "Q4_K" })).toThrow(
    "rows of 160 weights are not whole blocks of 256, which Q4_K has",
  );
});
