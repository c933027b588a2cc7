import { afterAll, describe, expect, test } from "vitest";
import { at } from "../../src/base/assert.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import type { RandomLlama } from "../../src/models/random-llama.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { comparisonOfFile, EXACT_OURS, EXACT_THEIRS, type Predictions, SHAPE } from "./comparison.ts";
import { disagreements, meanKl, spread } from "./divergence.ts";
import { rewriteModel, sameTensor } from "./model-files.ts";
import { predictionsOf, withShiftedMask, withSpec, withWrongPairs } from "./wrong-engines.ts";

/** Mean divergence (nats) of two computations of one model that differ in nothing but rounding to f32 and f16. */
const SAME = 1e-4;
/** Our divergence from the f32 model, as a multiple of llama.cpp's. */
const AS_GOOD = 1.25;
/** Favourites must be the same where they lead by more than this (nats). */
const MARGIN = 0.1;
/** A mistake must miss its bound by this factor. */
const CLEARLY = 10;

const TIMEOUT = 600_000;

const comparison = comparisonOfFile();
const report: Record<string, Record<string, string>> = {};

afterAll(() => {
  if (Object.keys(report).length > 0) console.table(report);
});

function note(model: string, what: string, kl: number): number {
  report[model] = { ...report[model], [what]: kl.toExponential(2) };
  return kl;
}

/** Grouped-query attention with an output head of its own, and plain attention with a tied one. */
const KINDS: readonly (Partial<RandomLlama> & { readonly kind: string })[] = [
  { kind: "grouped, untied" },
  { kind: "plain, tied", heads: 4, kvHeads: 4, intermediateSize: 704, tied: true },
];
/** Types whose blocks are made of random codes, as there is nothing here that quantizes to them. */
const OTHER_TYPES = [
  "Q1_0",
  "Q2_0",
  "Q5_0",
  "Q5_1",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "IQ1_S",
  "IQ1_M",
  "IQ2_XXS",
  "IQ2_XS",
  "IQ2_S",
  "IQ3_XXS",
  "IQ3_S",
  "TQ1_0",
  "TQ2_0",
  "MXFP4",
  "NVFP4",
] as const satisfies readonly GgmlType[];

/** Seeds where, with the usual one, rounded activations change a favourite that leads by little more than `MARGIN`. */
const SEEDS: Readonly<Record<string, number>> = { IQ2_XXS: 6, IQ3_S: 6, TQ1_0: 6 };

const MIXED_KINDS: typeof KINDS = [
  { kind: "grouped, tied", tied: true },
  { kind: "plain, untied", heads: 4, kvHeads: 4, intermediateSize: 704 },
];
const MIXTURES: typeof KINDS = [{ kind: "mixture", experts: { count: 8, used: 2 }, weights: "codes" }];
const cases = (formats: readonly GgmlType[], kinds: typeof KINDS) =>
  formats.flatMap((format) =>
    kinds.map(({ kind, ...shape }) => ({
      name: `${format}, ${kind}`,
      model: { ...SHAPE, ...shape, format, seed: 3 } satisfies RandomLlama,
    })),
  );

function expectSpread(predictions: Predictions): void {
  for (const position of predictions) expect(spread(position)).toBeGreaterThanOrEqual(2);
}

describe("random Llamas of floats", () => {
  test.each([...cases(["F32", "F16"], KINDS), ...cases(["F32"], MIXED_KINDS)])(
    "$name: the same predictions as llama.cpp",
    async ({ name, model }) => {
      const path = await comparison.random("model", model);
      const theirs = await comparison.theirs(path, EXACT_THEIRS);
      expectSpread(theirs);
      const exact = await comparison.ours(path, EXACT_OURS);
      const usual = await comparison.ours(path);
      note(name, "llama.cpp", meanKl(theirs, await comparison.theirs(path)));
      expect(note(name, "exact", meanKl(theirs, exact))).toBeLessThan(SAME);
      expect(note(name, "default", meanKl(theirs, usual))).toBeLessThan(SAME);
      expect(disagreements(theirs, exact, MARGIN)).toEqual([]);
      expect(disagreements(theirs, usual, MARGIN)).toEqual([]);
    },
    TIMEOUT,
  );
});

describe("quantized random Llamas", () => {
  test.each(cases(["Q8_0", "Q4_0", "Q4_1"], KINDS))(
    "$name: as near to the f32 model as llama.cpp",
    async ({ name, model }) => {
      const path = await comparison.random("model", model);
      const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS);
      expectSpread(truth);
      const exact = await comparison.ours(path, EXACT_OURS);
      const usual = await comparison.ours(path);
      const theirs = note(name, "llama.cpp", meanKl(truth, await comparison.theirs(path)));
      expect(note(name, "exact", meanKl(truth, exact))).toBeLessThan(SAME);
      expect(note(name, "default", meanKl(truth, usual))).toBeLessThanOrEqual(AS_GOOD * theirs);
      expect(disagreements(truth, usual, MARGIN)).toEqual([]);
    },
    TIMEOUT,
  );

  test.each(OTHER_TYPES)(
    "%s, random codes: as near to the f32 model as llama.cpp",
    async (format) => {
      const seed = SEEDS[format] ?? 5;
      const shape = { ...SHAPE, intermediateSize: 768, weights: "codes", seed } as const;
      const path = await comparison.random("model", { ...shape, format });
      const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS);
      expectSpread(truth);
      const exact = await comparison.ours(path, EXACT_OURS);
      const usual = await comparison.ours(path);
      const theirs = note(format, "llama.cpp", meanKl(truth, await comparison.theirs(path)));
      expect(note(format, "exact", meanKl(truth, exact))).toBeLessThan(SAME);
      expect(note(format, "default", meanKl(truth, usual))).toBeLessThanOrEqual(AS_GOOD * theirs);
      expect(disagreements(truth, usual, MARGIN)).toEqual([]);
    },
    TIMEOUT,
  );

  test.each(cases(["Q4_0", "Q4_K"], MIXTURES))(
    "$name: the same predictions as llama.cpp, but for rounded activations",
    async ({ name, model }) => {
      const path = await comparison.random("model", model);
      const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS);
      expectSpread(truth);
      const theirs = note(name, "llama.cpp", meanKl(truth, await comparison.theirs(path)));
      expect(note(name, "exact", meanKl(truth, await comparison.ours(path, EXACT_OURS)))).toBeLessThan(SAME);
      const usual = note(name, "default", meanKl(truth, await comparison.ours(path)));
      expect(usual).toBeLessThanOrEqual(AS_GOOD * theirs);
    },
    TIMEOUT,
  );

  test(
    "WebAssembly: as near to the f32 model as llama.cpp",
    async () => {
      const name = "Q4_0 on wasm";
      const path = await comparison.random("model", { ...SHAPE, format: "Q4_0", seed: 4 });
      const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS);
      const usual = await comparison.ours(path, { backend: "wasm" });
      const theirs = note(name, "llama.cpp", meanKl(truth, await comparison.theirs(path)));
      expect(note(name, "default", meanKl(truth, usual))).toBeLessThanOrEqual(AS_GOOD * theirs);
      expect(disagreements(truth, usual, MARGIN)).toEqual([]);
    },
    TIMEOUT,
  );
});

describe("mistakes are seen", () => {
  test.each([
    { mistake: "wrong rope pairs", wrong: (path: string) => withSpec(path, withWrongPairs) },
    { mistake: "a mask shifted by one position", wrong: withShiftedMask },
  ])(
    "$mistake",
    async ({ mistake, wrong }) => {
      const path = await comparison.random("model", { ...SHAPE, format: "F32", seed: 3 });
      const theirs = await comparison.theirs(path, EXACT_THEIRS);
      const ours = await predictionsOf(await wrong(path), comparison.texts);
      expect(note(mistake, "exact", meanKl(theirs, ours))).toBeGreaterThan(CLEARLY * SAME);
    },
    TIMEOUT,
  );

  test(
    "one scale twice as large",
    async () => {
      const path = await comparison.random("model", { ...SHAPE, format: "Q4_0", seed: 3 });
      const truth = await comparison.theirs(await comparison.dequantized(path), EXACT_THEIRS);
      const theirs = note("one wrong scale", "llama.cpp", meanKl(truth, await comparison.theirs(path)));
      const wrong = comparison.path("wrong-scale");
      await doubleScale(path, wrong, "token_embd.weight", 1);
      const ours = await comparison.ours(wrong);
      expect(note("one wrong scale", "default", meanKl(truth, ours))).toBeGreaterThan(
        CLEARLY * AS_GOOD * theirs,
      );
    },
    TIMEOUT,
  );
});

/** Copies a model with the scale of the first group of one row doubled. */
async function doubleScale(from: string, to: string, name: string, row: number): Promise<void> {
  await rewriteModel(from, to, (tensor, source) => {
    const same = sameTensor(tensor, source);
    if (tensor.name !== name) return same;
    const data = async function* () {
      const bytes = await source.read(tensor.offset, tensor.byteLength);
      // An f16's exponent starts at bit 10: bit 2 of its second byte.
      const scale = row * rowBytes(formatNamed(tensor.type), at(tensor.shape, 0));
      bytes[scale + 1]! += 1 << 2;
      yield bytes;
    };
    return { ...same, data };
  });
}
