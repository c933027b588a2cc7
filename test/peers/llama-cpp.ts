/** llama.cpp as a peer, through node-llama-cpp's prebuilt binaries for CPUs (`peers/`). */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";
import { logProbabilities } from "./divergence.ts";

const ENTRY = new URL("../../peers/node_modules/node-llama-cpp/dist/index.js", import.meta.url);

/** Why llama.cpp is not there, if it is not. */
export function peerMissing(): string | undefined {
  return existsSync(fileURLToPath(ENTRY))
    ? undefined
    : "llama.cpp is not installed (npm run test:peers installs it)";
}

/** Skips the test, with the reason, where llama.cpp is not there. */
export function needPeer(context: TestContext): void {
  const reason = peerMissing();
  context.skip(reason !== undefined, reason);
}

/** The part of node-llama-cpp that is used here; its own types exist only where it is installed. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<NativeLlama>;
}

interface NativeLlama {
  loadModel(options: object): Promise<NativeModel>;
  dispose(): Promise<void>;
}

interface NativeModel {
  createContext(options: object): Promise<NativeContext>;
  tokenize(text: string, specialTokens: boolean): number[];
  dispose(): Promise<void>;
}

interface NativeContext {
  getSequence(): NativeSequence;
  dispose(): Promise<void>;
}

interface NativeSequence {
  controlledEvaluate(
    input: readonly (readonly [token: number, options: object])[],
  ): Promise<({ next: { token?: number | null; probabilities?: Map<number, number> } } | undefined)[]>;
  clearHistory(): Promise<void>;
}

export interface PeerOptions {
  readonly contextLength: number;
  /** Element type of the KV cache. Default, as llama.cpp's: f16. */
  readonly kv?: "f16" | "f32" | "q8_0";
  /** Default, as llama.cpp's: on (its CPU kernel sums values in f16). */
  readonly flashAttention?: boolean;
}

/** A context that is full makes node-llama-cpp forget the start of the text. */
const SPARE_POSITIONS = 64;

/** All tokens, unchanged by sampling. */
const EVERY_TOKEN = { temperature: 0, topK: 0, topP: 1, minP: 0 };

/** llama.cpp on one thread (its threads spin at barriers, which takes very long where others compute). */
export class LlamaCpp {
  private constructor(private readonly llama: NativeLlama) {}

  static async open(): Promise<LlamaCpp> {
    const { getLlama } = (await import(ENTRY.href)) as NodeLlamaCpp;
    const options = { gpu: false, build: "never", skipDownload: true, progressLogs: false };
    return new LlamaCpp(await getLlama({ ...options, logLevel: "error", maxThreads: 1 }));
  }

  async load(path: string, options: PeerOptions): Promise<PeerModel> {
    const model = await this.llama.loadModel({ modelPath: path, gpuLayers: 0 });
    const element = (options.kv ?? "f16").toUpperCase();
    const context = await model.createContext({
      contextSize: options.contextLength + SPARE_POSITIONS,
      batchSize: options.contextLength,
      threads: 1,
      flashAttention: options.flashAttention ?? true,
      experimentalKvCacheKeyType: element,
      experimentalKvCacheValueType: element,
    });
    return new PeerModel(model, context);
  }

  /** The tokenizer alone, of a file that may hold nothing else. */
  async loadTokenizer(path: string): Promise<PeerTokenizer> {
    return new PeerTokenizer(await this.llama.loadModel({ modelPath: path, vocabOnly: true, gpuLayers: 0 }));
  }

  async dispose(): Promise<void> {
    await this.llama.dispose();
  }
}

export class PeerTokenizer {
  constructor(private readonly model: NativeModel) {}

  /** Ids of a text, without those that begin and end one. */
  encode(text: string, parseSpecial: boolean): number[] {
    return this.model.tokenize(text, parseSpecial);
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }
}

export class PeerModel {
  private readonly sequence: NativeSequence;

  constructor(
    private readonly model: NativeModel,
    private readonly context: NativeContext,
  ) {
    this.sequence = context.getSequence();
  }

  /** Natural logarithms of the probabilities of every next token, after each token of a text. */
  async evaluate(ids: readonly number[]): Promise<Float64Array[]> {
    await this.sequence.clearHistory();
    const wanted = { generateNext: { probabilities: true, options: EVERY_TOKEN } };
    const positions = await this.sequence.controlledEvaluate(ids.map((id) => [id, wanted] as const));
    return positions.map((position) => {
      const probabilities = position?.next.probabilities;
      if (probabilities === undefined) throw new Error("llama.cpp gave no probabilities");
      const logs = new Float64Array(probabilities.size).fill(Number.NaN);
      for (const [token, probability] of probabilities) logs[token] = Math.log(probability);
      // Their sum is off by some 1e-5: it was added up in f32.
      return logProbabilities(logs);
    });
  }

  async dispose(): Promise<void> {
    await this.context.dispose();
    await this.model.dispose();
  }
}
