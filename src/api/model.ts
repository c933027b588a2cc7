import { FileFormatError, UsageError } from "../base/errors.ts";
import type { BackendKind } from "../engine/backend.ts";
import type { Engine } from "../engine/engine.ts";
import { type EngineOptions, loadEngine, openModel } from "../engine/load-model.ts";
import {
  measurePerplexity,
  type PerplexityOptions,
  type PerplexityResult,
} from "../evaluation/perplexity.ts";
import { runTask, type TaskOptions, type TaskResult } from "../evaluation/run-task.ts";
import { baseOf } from "../evaluation/scoring.ts";
import type { Task } from "../evaluation/task.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { isHubReference } from "../hub/reference.ts";
import type { PullProgress } from "../hub/transfer.ts";
import type { ElementType } from "../kernels/elements.ts";
import type { ModelConfig } from "../models/model.ts";
import { type ChatMessage, type ChatTemplate, requireChatTemplate } from "../text/chat.ts";
import type { SamplingOptions } from "../text/sampling-options.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { evaluateTokens, type PositionLogits } from "./evaluation.ts";
import { type GenerateOptions, type GenerationResult, generateText, type Writer } from "./generation.ts";

export interface LoadModelOptions extends EngineOptions {
  /** Called while a model of the hub is downloaded. */
  readonly onDownload?: ((progress: PullProgress) => void) | undefined;
}

export interface EvaluateOptions {
  /** Yield the logits position by position instead of returning them all. */
  readonly stream?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ModelPerplexityOptions extends PerplexityOptions {
  /** Another model with the same vocabulary, whose predictions of the same tokens are what this model's are compared with. */
  readonly base?: Model | undefined;
}

/** A loaded model. One call at a time runs; a second one before the first ends is a `UsageError`. */
export class Model implements AsyncDisposable {
  private state: "idle" | "busy" | "disposed" = "idle";
  private readonly writer: Writer;

  /** Use `loadModel`. */
  constructor(
    readonly path: string,
    readonly tokenizer: Tokenizer,
    private readonly engine: Engine,
    private readonly chatTemplate: ChatTemplate | undefined,
    private readonly sampling: SamplingOptions,
  ) {
    this.writer = { path, tokenizer, engine, text: { sequence: engine.open(), tokens: [] } };
  }

  /** Dimensions of the model. */
  get config(): ModelConfig {
    return this.engine.program.spec.config;
  }

  /** Positions that a text may have. */
  get contextLength(): number {
    return this.engine.program.limits.contextLength;
  }

  get backend(): BackendKind {
    return this.engine.backend.kind;
  }

  /** Name of the instruction set. */
  get isa(): string {
    return this.engine.backend.isa.name;
  }

  get threads(): number {
    return this.engine.backend.threads;
  }

  /** Precision of activations: `f32` where all weights are floats, too. */
  get activations(): "int8" | "f32" {
    const plans = [...this.engine.program.matrices.values()];
    return plans.some(({ activations }) => activations.kind === "int8") ? "int8" : "f32";
  }

  /** Element type of the KV cache. */
  get kv(): ElementType {
    return this.engine.program.kv.element;
  }

  get hasChatTemplate(): boolean {
    return this.chatTemplate !== undefined;
  }

  /** Bytes of memory by use. */
  get memory(): { readonly weights: number; readonly kvCache: number; readonly working: number } {
    const { weights, cache, work } = this.engine.program;
    return { weights: weights.bytes, kvCache: cache.bytes, working: work.bytes };
  }

  /**
   * Continues a prompt, a text or token ids, piece by piece. The generator's return value tells why the text ended and
   * how long it took. Throws `UsageError` for options out of range or a prompt longer than the context,
   * `FileFormatError` if the model's weights give no finite logits, and `AbortedError` when the signal fires.
   */
  async *generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<string, GenerationResult, undefined> {
    const release = this.begin("generate");
    try {
      const { signal } = options;
      const ids = typeof prompt === "string" ? await this.tokenizer.encodeLong(prompt, { signal }) : prompt;
      return yield* generateText(this.writer, this.checked(ids), this.withDefaults(options));
    } finally {
      release();
    }
  }

  /** Answers a conversation, written as the model's chat template says. Throws `UsageError` if it has none. */
  async *chat(
    messages: readonly ChatMessage[],
    options: GenerateOptions = {},
  ): AsyncGenerator<string, GenerationResult, undefined> {
    const release = this.begin("chat");
    try {
      const template = requireChatTemplate(this.chatTemplate, this.path);
      const ids = await template.encode(messages, this.tokenizer, { signal: options.signal });
      return yield* generateText(this.writer, this.checked(ids), this.withDefaults(options));
    } finally {
      release();
    }
  }

  /** What the caller says, else the model's makers. */
  private withDefaults(options: GenerateOptions): GenerateOptions {
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    return { ...this.sampling, ...Object.fromEntries(given) };
  }

  /**
   * The logits after every token of a text: one Float32Array of vocabulary size per position; with `stream` one
   * position at a time, so that long texts are never all in memory.
   */
  evaluate(
    ids: readonly number[],
    options: EvaluateOptions & { readonly stream: true },
  ): AsyncIterable<PositionLogits>;
  evaluate(ids: readonly number[], options?: EvaluateOptions): Promise<Float32Array[]>;
  evaluate(
    ids: readonly number[],
    options: EvaluateOptions = {},
  ): Promise<Float32Array[]> | AsyncIterable<PositionLogits> {
    const positions = this.positions(ids, options.signal);
    return options.stream ? positions : collect(positions);
  }

  private async *positions(
    ids: readonly number[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<PositionLogits> {
    const release = this.begin("evaluate");
    try {
      yield* evaluateTokens(this.engine, this.writer.text, this.checked(ids), signal);
    } finally {
      release();
    }
  }

  /**
   * The perplexity of a text by one of two published protocols, and with a `base` how far the predictions are from its.
   * Logits are reduced where they are computed, so a text may be of any length. Throws `UsageError` for options out of
   * range, a text that is too short and a base that is busy or has another vocabulary, `FileFormatError` for weights that
   * give no finite logits, `AbortedError` for the signal.
   */
  async perplexity(text: string, options: ModelPerplexityOptions = {}): Promise<PerplexityResult> {
    if (typeof text !== "string") throw new UsageError(`a text is wanted, not ${typeof text}`);
    const release = this.begin("perplexity");
    try {
      const { base } = options;
      const releaseBase = base?.begin("perplexity");
      try {
        return await measurePerplexity(this.writer, base && baseOf(base.writer), text, options);
      } finally {
        releaseBase?.();
      }
    } finally {
      release();
    }
  }

  /**
   * Asks the model the items of a task, which `parseTask` reads: log-likelihoods of endings. Throws `UsageError` for an item
   * that the model has no tokens for, `FileFormatError` for weights that give no finite logits, `AbortedError` for the signal.
   */
  async runTask(task: Task, options: TaskOptions = {}): Promise<TaskResult> {
    const release = this.begin("runTask");
    try {
      return await runTask(this.writer, task, options);
    } finally {
      release();
    }
  }

  /** Token ids from a caller, each checked: kernels only see ids that have a row. */
  private checked(ids: readonly number[]): readonly number[] {
    if (!(Array.isArray(ids) || ArrayBuffer.isView(ids))) {
      throw new UsageError(`a text or an array of token ids is wanted, not ${typeof ids}`);
    }
    const size = this.engine.vocabularySize;
    for (const [i, id] of ids.entries()) {
      if (!(Number.isInteger(id) && id >= 0 && id < size)) {
        throw new UsageError(`token ${i} is ${id}; ids are whole numbers from 0 to ${size - 1}`);
      }
    }
    return ids;
  }

  private begin(call: string): () => void {
    if (this.state === "disposed") throw new UsageError(`${call}: the model is disposed`);
    if (this.state === "busy")
      throw new UsageError(`${call}: the model is busy with another call; await it first`);
    this.state = "busy";
    return () => {
      if (this.state === "busy") this.state = "idle";
    };
  }

  /**
   * Resolves when the packed weights are in the cache for later starts (`placement: "auto"`): at once where there is
   * nothing to write, also because no text was run yet, and when the signal fires. `dispose` gives up on what is not
   * written by then.
   */
  saved(signal?: AbortSignal): Promise<void> {
    return this.engine.whenSaved(signal);
  }

  /** Frees the memory and the threads. A running call is stopped. */
  async dispose(): Promise<void> {
    if (this.state === "disposed") return;
    this.state = "disposed";
    await this.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

async function collect(positions: AsyncIterable<PositionLogits>): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  for await (const { logits } of positions) all.push(logits);
  return all;
}

/**
 * Loads a model, a GGUF file (any part of a split one), a Hugging Face folder, or one of the hub (`hf:owner/name`, see
 * `pull`): plans, generates and compiles kernels for this machine, packs the weights.
 *
 * Throws `FileAccessError` and `FileFormatError` for the file, `UnsupportedError` for a model that this version cannot
 * run, `MachineError` when the machine lacks something, `UsageError` for options, `AbortedError` for the signal; what `pull`
 * throws for a model of the hub.
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<Model> {
  const local = await localPath(path, options);
  const opened = await openModel(local, options.onNotice);
  try {
    const tokenizer = opened.tokenizer();
    const rows = opened.spec.config.vocabularySize;
    if (tokenizer.vocabularySize > rows) {
      const problem = `has ${tokenizer.vocabularySize} tokens, but the embedding only ${rows}`;
      const field = opened.gguf === undefined ? "tokenizer.json" : "tokenizer.ggml.tokens";
      throw new FileFormatError(local, field, problem);
    }
    const template = opened.chatTemplate();
    const sampling = opened.sampling();
    const engine = await loadEngine(opened, await describeMachine(), options);
    return new Model(local, tokenizer, engine, template, sampling);
  } finally {
    await opened.close();
  }
}

async function localPath(model: string, { onDownload, onNotice, signal }: LoadModelOptions): Promise<string> {
  if (!isHubReference(model)) return model;
  const { pull } = await import("../hub/pull.ts");
  return (await pull(model, { onProgress: onDownload, onNotice, signal })).path;
}
