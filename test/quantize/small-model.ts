import { writeFileSync } from "node:fs";
import { Rng } from "../../src/base/rng.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { saveGguf } from "../cli/harness.ts";

export const SHAPE = {
  architecture: "llama",
  layers: 2,
  hiddenSize: 64,
  intermediateSize: 96,
  heads: 2,
  kvHeads: 1,
  vocabularySize: 300,
  contextLength: 96,
  format: "F32" as GgmlType,
};

/** Writes a random model to quantize, and a text that it is calibrated on. */
export async function saveSmallModel(model: string, calibration: string): Promise<void> {
  const rng = new Rng(3);
  const words = Array.from({ length: 4000 }, () => "abcdefghij klmnop qrst"[rng.integer(22)]);
  writeFileSync(calibration, words.join(""));
  await saveGguf(model, randomModel(SHAPE));
}
