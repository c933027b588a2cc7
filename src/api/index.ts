export {
  AbortedError,
  FileAccessError,
  FileFormatError,
  InternalError,
  MachineError,
  NetworkError,
  QigenError,
  RepositoryError,
  UnsupportedError,
  UsageError,
} from "../base/errors.ts";
export type { BackendKind } from "../engine/backend.ts";
export type { Progress } from "../engine/load-model.ts";
export type { SyntheticModel } from "../engine/synthetic.ts";
export type { Distribution, PerplexityComparison } from "../evaluation/comparison.ts";
export { parseTask } from "../evaluation/parse-task.ts";
export type { PerplexityOptions, PerplexityProgress, PerplexityResult } from "../evaluation/perplexity.ts";
export type { TaskOptions, TaskProgress, TaskResult } from "../evaluation/run-task.ts";
export type { Estimate } from "../evaluation/statistics.ts";
export type { ChoiceItem, Continuation, Task } from "../evaluation/task.ts";
export type { Protocol, ProtocolOptions } from "../evaluation/windows.ts";
export { type PulledModel, type PullOptions, pull } from "../hub/pull.ts";
export type { PullProgress } from "../hub/transfer.ts";
export type { ModelConfig } from "../models/model.ts";
export type { LlamaShape } from "../models/random-llama.ts";
export type { AllocatedModule, Allocation } from "../quantize/budget.ts";
export type { QuantizeOptions, QuantizeProgress, QuantizeResult } from "../quantize/options.ts";
export { quantize } from "../quantize/quantize.ts";
export type { ModuleRecord } from "../quantize/quantized-tensor.ts";
export type { ChatMessage } from "../text/chat.ts";
export type { SamplingOptions } from "../text/sampling-options.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer } from "../text/tokenizer.ts";
export {
  type BenchmarkOptions,
  type BenchmarkResult,
  type BenchmarkTest,
  benchmarkModel,
  type Spread,
} from "./benchmark.ts";
export type { PositionLogits } from "./evaluation.ts";
export type { GenerateOptions, GenerationResult, StopReason } from "./generation.ts";
export {
  type EvaluateOptions,
  type LoadModelOptions,
  loadModel,
  Model,
  type ModelPerplexityOptions,
} from "./model.ts";
