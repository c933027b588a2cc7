import { UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import type { BackendKind } from "../engine/backend.ts";
import type { Engine, Row } from "../engine/engine.ts";
import { type EngineOptions, loadEngine, openModel } from "../engine/load-model.ts";
import type { ModelProgram } from "../engine/model-program.ts";
import type { Sequence } from "../engine/page-pool.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { kvStrides } from "../kernels/kv-cache.ts";
import type { Linear } from "../models/model.ts";
import type { Machine } from "../plan/machine.ts";
import { memoryGBs } from "../plan/speeds.ts";
import { rowBytes } from "../quant/formats.ts";

export interface BenchmarkOptions extends EngineOptions {
  /** Tokens of the prompt. Default 512. */
  readonly promptTokens?: number | undefined;
  /** Tokens generated after it. Default 64. */
  readonly genTokens?: number | undefined;
  /** How often all of it is timed. Default 3. */
  readonly repeat?: number | undefined;
  /** Called before every repetition with a line that says which. */
  readonly onRepeat?: ((line: string) => void) | undefined;
}

/** A quantity that was measured several times. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What a benchmark found. Bytes are nominal: what the formats define, without padding. */
export interface BenchmarkResult {
  readonly backend: BackendKind;
  readonly isa: string;
  readonly threads: number;
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly repeat: number;
  /** Opening, planning, compiling (unless cached), packing. */
  readonly loadSeconds: number;
  /** From the prompt's ids to the logits of the first token. */
  readonly firstTokenSeconds: Spread;
  readonly prefillTokensPerSecond: Spread;
  readonly decodeTokensPerSecond: Spread;
  /** Bytes that one token of decode reads: every weight once, and the KV cache at the mean position. */
  readonly bytesPerToken: { readonly weights: number; readonly kvCache: number };
  /** Of decode, at the median: 10⁹ bytes a second. */
  readonly decodeGBs: number;
  /** Of the matrix products of prefill, at the median: 10⁹ operations a second, a multiply-add being two. */
  readonly prefillGops: number;
  /** What the machine was measured to do with these threads (and this ISA), as far as it was. */
  readonly machine: { readonly readGBs?: number; readonly int8Gops?: number };
}

/** Times prefill and decode of a model on random tokens, after a warm-up and once its weights stay where they are. Texts never end early. */
export async function benchmarkModel(path: string, options: BenchmarkOptions = {}): Promise<BenchmarkResult> {
  const promptTokens = positive("promptTokens", options.promptTokens ?? 512);
  const genTokens = positive("genTokens", options.genTokens ?? 64);
  const repeat = positive("repeat", options.repeat ?? 3);
  const contextLength = options.contextLength ?? promptTokens + genTokens;
  if (contextLength < promptTokens + genTokens) {
    throw new UsageError(
      `${promptTokens} + ${genTokens} tokens are more than the context of ${contextLength}`,
    );
  }
  const machine = await describeMachine();
  const started = performance.now();
  const engine = await load(path, machine, { ...options, contextLength });
  try {
    const loadSeconds = (performance.now() - started) / 1000;
    const bench = new Bench(engine, options.signal);
    options.onRepeat?.("warming up");
    await bench.run(Math.min(promptTokens, 2 * engine.program.limits.maxRows), Math.min(genTokens, 8));
    await engine.whenSettled();
    const runs: Timed[] = [];
    for (let i = 1; i <= repeat; i++) {
      options.onRepeat?.(`run ${i} of ${repeat}`);
      runs.push(await bench.run(promptTokens, genTokens));
    }
    const counts = { promptTokens, genTokens, repeat, loadSeconds };
    return summarise(engine, machine, runs, counts);
  } finally {
    await engine.dispose();
  }
}

function positive(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= 2 ** 24) return value;
  throw new UsageError(`${name} must be a whole number from 1 to ${2 ** 24}, not ${value}`);
}

async function load(path: string, machine: Machine, options: EngineOptions): Promise<Engine> {
  const opened = await openModel(path);
  try {
    return await loadEngine(opened, machine, options);
  } finally {
    await opened.source.close();
  }
}

interface Timed {
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
}

class Bench {
  private readonly sequence: Sequence;
  private readonly random = new Rng(1);

  constructor(
    private readonly engine: Engine,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.sequence = engine.open();
  }

  async run(promptTokens: number, genTokens: number): Promise<Timed> {
    const { engine, sequence, signal } = this;
    sequence.truncate(0);
    const { maxRows } = engine.program.limits;
    const start = performance.now();
    for (let done = 0; done < promptTokens; done += maxRows) {
      const count = Math.min(maxRows, promptTokens - done);
      const last = done + count === promptTokens;
      const rows = Array.from({ length: count }, (_, i) => this.row(last && i === count - 1));
      await engine.step(rows, signal);
    }
    const prefilled = performance.now();
    for (let i = 0; i < genTokens; i++) await engine.step([this.row(true)], signal);
    return {
      prefillSeconds: (prefilled - start) / 1000,
      decodeSeconds: (performance.now() - prefilled) / 1000,
    };
  }

  private row(output: boolean): Row {
    const token = this.random.integer(this.engine.vocabularySize);
    return { sequence: this.sequence, token, output };
  }
}

interface Counts {
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly repeat: number;
  readonly loadSeconds: number;
}

function summarise(
  engine: Engine,
  machine: Machine,
  runs: readonly Timed[],
  counts: Counts,
): BenchmarkResult {
  const { program, backend } = engine;
  const { promptTokens, genTokens } = counts;
  const prefill = spread(runs.map((run) => promptTokens / run.prefillSeconds));
  const decode = spread(runs.map((run) => genTokens / run.decodeSeconds));
  const bytesPerToken = {
    weights: weightBytes(program),
    kvCache: cacheBytes(program, promptTokens + genTokens / 2),
  };
  const operations = prefillOperations(program, promptTokens) / promptTokens;
  return {
    backend: backend.kind,
    isa: backend.isa.name,
    threads: backend.threads,
    ...counts,
    firstTokenSeconds: spread(runs.map((run) => run.prefillSeconds)),
    prefillTokensPerSecond: prefill,
    decodeTokensPerSecond: decode,
    bytesPerToken,
    decodeGBs: ((bytesPerToken.weights + bytesPerToken.kvCache) * decode.median) / 1e9,
    prefillGops: (operations * prefill.median) / 1e9,
    machine: peaks(machine, backend.isa.name, backend.threads),
  };
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle)] as number)) / 2;
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number };
}

function layerMatrices({ spec }: ModelProgram): Linear[] {
  return spec.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
}

/** Bytes of weights that one token reads: all but those rows of the embedding that other tokens have. */
function weightBytes(program: ModelProgram): number {
  const { embedding, output } = program.spec;
  const row = (linear: Linear) => rowBytes(program.matrix(linear).packing.format, linear.cols);
  const matrices = [...layerMatrices(program), output];
  return matrices.reduce((sum, linear) => sum + linear.rows * row(linear), row(embedding));
}

/** Bytes of keys and values that a token at this position reads. */
function cacheBytes({ kv, spec }: ModelProgram, position: number): number {
  return (position / kv.pageTokens) * kvStrides(kv).page * spec.layers.length;
}

/** Operations of the matrix products of a prompt, whose last token alone meets the output head. */
function prefillOperations(program: ModelProgram, tokens: number): number {
  const size = ({ rows, cols }: Linear) => 2 * rows * cols;
  return (
    tokens * layerMatrices(program).reduce((sum, linear) => sum + size(linear), 0) + size(program.spec.output)
  );
}

function peaks(machine: Machine, isa: string, threads: number): BenchmarkResult["machine"] {
  const { measured } = machine;
  if (measured === undefined) return {};
  const int8 = measured.int8Gops
    .filter((m) => m.isa === isa)
    .sort((a, b) => Math.abs(a.threads - threads) - Math.abs(b.threads - threads))[0];
  return {
    ...(measured.readGBs.length > 0 ? { readGBs: memoryGBs(machine, threads) } : {}),
    ...(int8 === undefined ? {} : { int8Gops: (int8.gops * threads) / int8.threads }),
  };
}
