import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { RearrangedTensor, ShiftedVector } from "../../src/checkpoints/changed-tensors.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { CASES, type FamilyCase, filesOf, folderFor, tensorsOf } from "../checkpoints/family-cases.ts";
import { saveCheckpoint } from "../checkpoints/random-checkpoint.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { comparisonOfFile, EXACT_OURS, EXACT_THEIRS, textsOf } from "./comparison.ts";
import { meanKl } from "./divergence.ts";

/** Mean divergence (nats) of two computations of one model that differ in rounding only; llama.cpp's GELU is of f16s. */
const SAME = 1e-4;
/** A mistake must miss the bound by this factor. */
const CLEARLY = 10;
/** Of the folders' tokenizer. */
const TEXTS = textsOf(258).slice(0, 3);
const SMALL = { intermediateSize: 96, vocabularySize: 320 } as const;

const isPlain = ({ config = {} }: FamilyCase) =>
  Object.keys(config).every((key) => /^(original_max_position_embeddings|rope_scaling)$/.test(key));
/** Not what llama.cpp lacks: OPT, windows that its files do not tell, the other GELU; and no mixtures. */
const cases = CASES.filter(
  (choice) =>
    !["mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "opt"].includes(choice.type) &&
    !choice.erf &&
    isPlain(choice),
);
const LLAMA3 = {
  rope_scaling: {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 600,
  },
};
const YARN = { rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 } };
const scaled: readonly FamilyCase[] = [LLAMA3, YARN].map((config) => ({
  type: "llama",
  of: "llama",
  config,
}));

const folder = temporaryFolder();
const comparison = comparisonOfFile();

afterEach(() => {
  vi.restoreAllMocks();
});

async function convertedFolder(choice: FamilyCase) {
  const { config, tensors } = folderFor(choice, SMALL);
  const from = await saveCheckpoint(join(folder, `${Math.random()}`), {
    files: filesOf(config, tensorsOf(tensors)),
  });
  const path = comparison.path(`${Math.random()}`);
  await quantize(from, path, { method: "rtn", format: "gguf:f32" });
  return { from, path };
}

test.for([...cases, ...scaled])(
  "a folder of $type ($of) as a GGUF file is the same model in llama.cpp",
  { timeout: 60_000 },
  async (choice) => {
    const { from, path } = await convertedFolder(choice);
    const kl = meanKl(
      await comparison.theirs(path, EXACT_THEIRS, TEXTS),
      await comparison.ours(from, EXACT_OURS, TEXTS),
    );
    console.log(`${choice.type} (${choice.of}): ${kl.toExponential(1)}`);
    expect(kl).toBeLessThan(SAME);
  },
);

test.for([
  ["llama", RearrangedTensor],
  ["gemma2", ShiftedVector],
  ["gptneox, one block after the other", RearrangedTensor],
] as const)("%s with tensors as they stand in the folder is another model", async ([of, tensor]) => {
  const choice = cases.find((one) => one.of === of) as FamilyCase;
  vi.spyOn(tensor.prototype as StoredTensor, "readRows").mockImplementation(function (
    this: StoredTensor,
    first,
    target,
  ) {
    return (Reflect.get(this, "from") as StoredTensor).readRows(first, target);
  });
  const { from, path } = await convertedFolder(choice);
  vi.restoreAllMocks();
  const kl = meanKl(
    await comparison.theirs(path, EXACT_THEIRS, TEXTS),
    await comparison.ours(from, EXACT_OURS, TEXTS),
  );
  expect(kl).toBeGreaterThan(CLEARLY * SAME);
});
