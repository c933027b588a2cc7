import { afterAll, expect, test } from "vitest";
import { openModel } from "../../src/engine/load-model.ts";
import { linears, type ModelSpec, ropes } from "../../src/models/model.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { ARCHITECTURES } from "../models/architectures.ts";
import { comparisonOfFile, EXACT_OURS, EXACT_THEIRS, textsOf } from "./comparison.ts";
import { disagreements, meanKl, spread } from "./divergence.ts";
import { writeModel } from "./model-files.ts";
import {
  predictionsOf,
  withFewerExperts,
  withOtherSoftmax,
  withoutBias,
  withoutCaps,
  withoutHeadNorms,
  withoutParallel,
  withoutSharedExpert,
  withoutSinks,
  withoutWindow,
  withShiftedMask,
  withSpec,
  withSwappedNorms,
  withWrongPairs,
} from "./wrong-engines.ts";

/** Mean divergence (nats) of two computations of one model that differ in rounding only; llama.cpp's GELU is of f16s. */
const SAME = 1e-4;
/** A mistake must miss the bound by this factor. */
const CLEARLY = 10;
/** Standard deviation of the logits, at least: a model that expects nothing agrees with everything. */
const SPREAD = 2;
const MARGIN = 0.1;

const comparison = comparisonOfFile();
const report: Record<string, Record<string, string>> = {};

afterAll(() => {
  if (Object.keys(report).length > 0) console.table(report);
});

function isMixture({ layers }: ModelSpec): boolean {
  return layers.some(({ feedForward }) => feedForward.routing !== undefined);
}

/** Mistakes, and whether a model has what they get wrong. */
const MISTAKES: readonly {
  readonly name: string;
  readonly wrong: (spec: ModelSpec) => ModelSpec;
  readonly applies: (spec: ModelSpec) => boolean;
}[] = [
  { name: "rope pairs", wrong: withWrongPairs, applies: (spec) => ropes(spec).length > 0 },
  { name: "swapped norms", wrong: withSwappedNorms, applies: () => true },
  {
    name: "no bias",
    wrong: withoutBias,
    applies: (spec) => linears(spec).some(({ bias }) => bias !== undefined),
  },
  {
    name: "no window",
    wrong: withoutWindow,
    applies: ({ layers }) => layers.some(({ attention }) => attention.window !== undefined),
  },
  {
    name: "no caps",
    wrong: withoutCaps,
    applies: ({ layers }) => layers.some(({ attention }) => attention.softcap !== undefined),
  },
  {
    name: "no head norms",
    wrong: withoutHeadNorms,
    applies: ({ layers }) => layers.some(({ attention }) => attention.qNorm !== undefined),
  },
  {
    name: "no sinks",
    wrong: withoutSinks,
    applies: ({ layers }) => layers.some(({ attention }) => attention.sinks !== undefined),
  },
  { name: "other softmax", wrong: withOtherSoftmax, applies: isMixture },
  { name: "fewer experts", wrong: withFewerExperts, applies: isMixture },
  {
    name: "no shared expert",
    wrong: withoutSharedExpert,
    applies: ({ layers }) => layers.some(({ feedForward }) => feedForward.routing?.shared !== undefined),
  },
  {
    name: "not parallel",
    wrong: withoutParallel,
    applies: ({ layers }) => layers.some(({ parallel }) => parallel === true),
  },
];

test.each(ARCHITECTURES)(
  "$name: llama.cpp's predictions, in no other way",
  async ({ name, model }) => {
    const path = comparison.path("architecture");
    await writeModel(path, randomModel(model));
    const texts = textsOf(model.vocabularySize);
    const theirs = await comparison.theirs(path, EXACT_THEIRS, texts);
    const note = (what: string, kl: number) => {
      report[name] = { ...report[name], [what]: kl.toExponential(1) };
      return kl;
    };
    const ours = await comparison.ours(path, EXACT_OURS, texts);
    const spreads = theirs.map(spread);
    note("spread", Math.min(...spreads));
    note("KL", meanKl(theirs, ours));
    const opened = await openModel(path);
    await opened.close();
    for (const { name: mistake, wrong, applies } of MISTAKES) {
      if (!applies(opened.spec)) continue;
      const found = await predictionsOf(await withSpec(path, wrong), texts);
      expect(note(mistake, meanKl(theirs, found)), mistake).toBeGreaterThan(CLEARLY * SAME);
    }
    const shifted = await predictionsOf(await withShiftedMask(path), texts);
    expect(note("shifted mask", meanKl(theirs, shifted)), "shifted mask").toBeGreaterThan(CLEARLY * SAME);
    expect(spreads.reduce((sum, s) => sum + s, 0) / spreads.length).toBeGreaterThan(SPREAD);
    expect(meanKl(theirs, ours)).toBeLessThan(SAME);
    expect(disagreements(theirs, ours, MARGIN)).toEqual([]);
  },
  600_000,
);
