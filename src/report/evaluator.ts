import { join } from "node:path";
import type { Writer } from "../api/generation.ts";
import { type EngineOptions, loadEngine, openModel } from "../engine/load-model.ts";
import type { ModelProgram } from "../engine/model-program.ts";
import { modelShapes } from "../engine/model-shapes.ts";
import { tuningOf } from "../engine/plan-matrices.ts";
import { KeptBase } from "../evaluation/kept-base.ts";
import { measurePerplexity, type PerplexityOptions } from "../evaluation/perplexity.ts";
import { runTask } from "../evaluation/run-task.ts";
import type { Estimate } from "../evaluation/statistics.ts";
import type { Task } from "../evaluation/task.ts";
import { layerMatrices, matrixCount } from "../models/model.ts";
import type { Machine } from "../plan/machine.ts";
import { planModel } from "../plan/model-plan.ts";
import type { TaskScore } from "./report.ts";

/** What the accuracy of every model of a sweep is measured with. */
export interface EvaluatorOptions {
  readonly machine: Machine;
  /** Text that perplexity is of, how many tokens a window has and how many windows there are. */
  readonly text: string;
  readonly context: number;
  readonly windows: number;
  /** Whether every window is led by the start token. */
  readonly bos: boolean;
  /** By name. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Tokens of the prompt whose speed is predicted. */
  readonly promptTokens: number;
  /** For what the base predicts. */
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
}

/** How well a model predicts, and what its plan says of it. */
export interface Evaluation {
  readonly perplexity: Estimate;
  readonly ratio: Estimate;
  readonly divergence: Estimate;
  readonly sameTop: number;
  readonly tasks: readonly TaskScore[];
  /** Tokens whose probability counted. */
  readonly scored: number;
  /** Of the projections of all layers. */
  readonly weights: number;
  /** Tokens per second. */
  readonly predicted: { readonly prefill: number; readonly decode: number };
}

/** Compares models with a base, which runs once. */
export interface Evaluator {
  evaluate(path: string): Promise<Evaluation>;
  close(): Promise<void>;
}

/** Positions of a model that answers tasks, at most. */
const TASK_CONTEXT = 4096;

/** Runs the base with f32 activations and an f32 cache. Throws what loading a model and its perplexity throw. */
export async function openEvaluator(base: string, options: EvaluatorOptions): Promise<Evaluator> {
  const { text, context, windows, folder, signal } = options;
  const protocol: PerplexityOptions = {
    protocol: "gptq",
    context,
    ...(options.bos ? { bos: "window" } : {}),
    chunks: windows,
    signal,
  };
  const exact = { contextLength: context, activations: "f32", kv: "f32" } as const;
  const place = { path: join(folder, "base.logits"), most: windows * context };
  const kept = await withModel(base, exact, options, (model) =>
    KeptBase.record(model, text, protocol, place),
  );
  return {
    evaluate: (path) => withModel(path, {}, options, (model) => evaluate(model, kept, protocol, options)),
    close: () => kept.close(),
  };
}

async function evaluate(
  model: Writer,
  base: KeptBase,
  protocol: PerplexityOptions,
  { text, tasks, machine, promptTokens, signal }: EvaluatorOptions,
): Promise<Evaluation> {
  const result = await measurePerplexity(model, base.reader(), text, protocol);
  const { ratio, divergence, sameTop } = result.comparison as NonNullable<typeof result.comparison>;
  const scores: TaskScore[] = [];
  for (const [name, task] of tasks) {
    const { accuracy, accuracyNormalized } = await runTask(model, task, { signal });
    scores.push({ task: name, accuracy: accuracyNormalized ?? accuracy });
  }
  const { program } = model.engine;
  const { isa, threads, spec, matrices, limits } = program;
  const prefillTokens = Math.min(promptTokens, limits.maxRows);
  const running = { ...machine, tuned: tuningOf(matrices, isa, threads) };
  const plan = planModel(running, isa, modelShapes(spec, matrices), { prefillTokens, threads });
  return {
    perplexity: result.perplexity,
    ratio,
    divergence: { value: divergence.value, error: divergence.error },
    sameTop: sameTop.value,
    tasks: scores,
    scored: result.scored,
    weights: projectionWeights(program),
    predicted: { prefill: plan.prefill.tokensPerSecond, decode: plan.decode.tokensPerSecond },
  };
}

function projectionWeights({ spec }: ModelProgram): number {
  const matrices = spec.layers.flatMap(layerMatrices).map(([, linear]) => linear);
  return matrices.reduce((sum, linear) => sum + matrixCount(linear) * linear.rows * linear.cols, 0);
}

/** Lends a loaded model. Its packed weights go nowhere: no other start is to find them. */
async function withModel<T>(
  path: string,
  how: EngineOptions,
  { machine, context, signal }: EvaluatorOptions,
  use: (model: Writer) => Promise<T>,
): Promise<T> {
  const opened = await openModel(path);
  try {
    const trained = opened.spec.config.contextLength;
    const contextLength = Math.max(context, Math.min(trained, TASK_CONTEXT));
    const engine = await loadEngine(opened, machine, { contextLength, placement: "arena", signal, ...how });
    try {
      const text = { sequence: engine.open(), tokens: [] };
      return await use({ path, tokenizer: opened.tokenizer(), engine, text });
    } finally {
      await engine.dispose();
    }
  } finally {
    await opened.close();
  }
}
