/** The same texts through this engine and through llama.cpp. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { assert } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";
import { type RandomLlama, randomLlama } from "../../src/models/random-llama.ts";
import { logProbabilities } from "./divergence.ts";
import { LlamaCpp, needPeer, type PeerOptions, peerMissing } from "./llama-cpp.ts";
import { dequantizedTensor, rewriteModel, writeModel } from "./model-files.ts";

/** Positions of a text, at most. */
export const CONTEXT = 256;

/** A full vocabulary on a small body: quick, and still every shape class of a real model. */
export const SHAPE = {
  layers: 4,
  hiddenSize: 256,
  intermediateSize: 768,
  heads: 8,
  kvHeads: 2,
  vocabularySize: 32000,
  contextLength: CONTEXT,
} as const;

/** Nothing rounded to 8 or 16 bits: for llama.cpp attention without its f16 sums. */
export const EXACT_OURS = { activations: "f32", kv: "f32" } as const satisfies LoadModelOptions;
export const EXACT_THEIRS = { kv: "f32", flashAttention: false } as const satisfies Partial<PeerOptions>;

const START = 1;
const LENGTHS = [1, 5, 33, 100];

/** Random texts of several lengths. */
export function textsOf(vocabularySize: number): readonly (readonly number[])[] {
  const rng = new Rng(7);
  return LENGTHS.map((length) =>
    Array.from({ length }, (_, i) => (i === 0 ? START : rng.integer(vocabularySize))),
  );
}

/** Log-probabilities after every token of all texts. */
export type Predictions = readonly Float64Array[];

/** The comparison of a test file: open while its tests run, which are skipped where llama.cpp is not there. */
export function comparisonOfFile(): Comparison {
  const comparison = new Comparison();
  beforeAll(async () => {
    if (peerMissing() === undefined) await comparison.open();
  });
  afterAll(() => comparison.dispose());
  beforeEach(needPeer);
  return comparison;
}

/** llama.cpp, texts and a folder for model files. */
export class Comparison {
  readonly texts = textsOf(SHAPE.vocabularySize);
  private opened: { readonly llama: LlamaCpp; readonly folder: string } | undefined;

  async open(): Promise<void> {
    this.opened = { llama: await LlamaCpp.open(), folder: await mkdtemp(join(tmpdir(), "qigen-peers-")) };
  }

  async dispose(): Promise<void> {
    if (this.opened === undefined) return;
    await this.opened.llama.dispose();
    await rm(this.opened.folder, { recursive: true });
  }

  private get parts() {
    assert(this.opened !== undefined, "the comparison is not open");
    return this.opened;
  }

  path(name: string): string {
    return join(this.parts.folder, `${name}.gguf`);
  }

  /** Writes a random model; a file of the same name is replaced. */
  async random(name: string, options: RandomLlama): Promise<string> {
    await writeModel(this.path(name), randomLlama(options));
    return this.path(name);
  }

  /** The same model with every weight as f32. */
  async dequantized(path: string): Promise<string> {
    const copy = this.path("dequantized");
    await rewriteModel(path, copy, dequantizedTensor);
    return copy;
  }

  async ours(path: string, options: LoadModelOptions = {}, texts = this.texts): Promise<Predictions> {
    await using model = await loadModel(path, { contextLength: CONTEXT, ...options });
    const predictions: Float64Array[] = [];
    for (const text of texts) predictions.push(...(await model.evaluate(text)).map(logProbabilities));
    return predictions;
  }

  async theirs(path: string, options: Partial<PeerOptions> = {}, texts = this.texts): Promise<Predictions> {
    const model = await this.parts.llama.load(path, { contextLength: CONTEXT, ...options });
    try {
      const predictions: Float64Array[] = [];
      for (const text of texts) predictions.push(...(await model.evaluate(text)));
      return predictions;
    } finally {
      await model.dispose();
    }
  }
}
