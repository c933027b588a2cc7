import { expect, test } from "vitest";
import type { RandomLlama } from "../../src/models/random-llama.ts";
import { comparisonOfFile, EXACT_OURS, EXACT_THEIRS, SHAPE } from "./comparison.ts";
import { meanKl } from "./divergence.ts";

/** Mean divergence (nats) of two computations of one model that differ in nothing but rounding to f32. */
const SAME = 1e-4;
/** A model without the scaling must miss the bound by this factor. */
const CLEARLY = 10;

const comparison = comparisonOfFile();

/** Llama 3.1's: fast pairs as they are, slow ones eight times as slow, some between. */
const LLAMA_3_FACTORS = Array.from({ length: 16 }, (_, pair) => Math.min(8, Math.max(1, (pair - 4) * 1.3)));

const CASES: readonly { readonly name: string; readonly rope: Partial<RandomLlama> }[] = [
  { name: "linear scaling", rope: { ropeScaling: { kind: "linear", factor: 4 } } },
  { name: "YaRN", rope: { ropeScaling: { kind: "yarn", factor: 4, originalContext: 64 } } },
  {
    name: "YaRN, larger base",
    rope: { ropeBase: 5e5, ropeScaling: { kind: "yarn", factor: 8, originalContext: 32 } },
  },
  { name: "frequency factors", rope: { ropeBase: 5e5, ropeFactors: LLAMA_3_FACTORS } },
];

test.each(CASES)(
  "$name: the same predictions as llama.cpp",
  async ({ name, rope }) => {
    const model = { ...SHAPE, format: "F32", seed: 5 } as const;
    const path = await comparison.random("scaled", { ...model, ...rope });
    const theirs = await comparison.theirs(path, EXACT_THEIRS);
    const same = meanKl(theirs, await comparison.ours(path, EXACT_OURS));
    const plain = await comparison.random("plain", model);
    const unscaled = meanKl(theirs, await comparison.ours(plain, EXACT_OURS));
    console.log(`${name}: ${same.toExponential(2)}, without it ${unscaled.toExponential(2)}`);
    expect(same).toBeLessThan(SAME);
    expect(unscaled).toBeGreaterThan(CLEARLY * SAME);
  },
  600_000,
);
