import { UsageError } from "../base/errors.ts";
import { Rng } from "../base/rng.ts";
import type { BackendKind } from "../engine/backend.ts";
import type { Engine, Row } from "../engine/engine.ts";
import { type EngineOptions, loadEngine, openModel } from "../engine/load-model.ts";
import type { Sequence } from "../engine/page-pool.ts";
import { median } from "../engine/stopwatch.ts";
import { openSynthetic, type SyntheticModel } from "../engine/synthetic.ts";
import { describeMachine } from "../host/describe-machine.ts";
import type { ElementType } from "../kernels/elements.ts";
import type { Machine } from "../plan/machine.ts";
import { memoryGBs } from "../plan/speeds.ts";
import { cacheBytes, projectionBytes, promptOperations, weightBytes } from "./benchmark-work.ts";

export interface BenchmarkOptions extends EngineOptions {
  /** Tokens of the prefill test. Default 512. */
  readonly promptTokens?: number | undefined;
  /** Tokens of the decode test. Default 64. */
  readonly genTokens?: number | undefined;
  /** Positions that are in the context when a test starts. Default 0. */
  readonly depth?: number | undefined;
  /** How often both tests are timed. Default 3. */
  readonly repeat?: number | undefined;
  /** Called with what is about to be done. */
  readonly onPhase?: ((what: string) => void) | undefined;
}

/** A quantity that was measured several times. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One of the two tests. */
export interface BenchmarkTest {
  readonly tokens: number;
  /** Of every repetition. */
  readonly seconds: readonly number[];
  readonly tokensPerSecond: Spread;
}

/** What a benchmark found. The bytes that tests read are nominal: what the formats define, without padding. */
export interface BenchmarkResult {
  readonly backend: BackendKind;
  readonly isa: string;
  readonly threads: number;
  /** Element type of the KV cache. */
  readonly kv: ElementType;
  /** Positions in the context before each test. */
  readonly depth: number;
  readonly repeat: number;
  /** Opening, planning, compiling (unless cached), packing. */
  readonly loadSeconds: number;
  /** A prompt, up to the logits of its next token. */
  readonly prefill: BenchmarkTest & {
    /** Of its matrix products, at the median: 10⁹ operations a second, a multiply-add being two. */
    readonly gops: number;
  };
  /** Tokens one by one. */
  readonly decode: BenchmarkTest & {
    /** What one token reads: every weight once, and the KV cache at the test's mean position. */
    readonly bytesPerToken: { readonly weights: number; readonly kvCache: number };
    /** At the median: 10⁹ bytes a second. */
    readonly gbs: number;
  };
  /**
   * Bytes: packed weights, and of these the projections of all layers, the KV cache and the work space of this context, and
   * what the process held at most.
   */
  readonly memory: {
    readonly weights: number;
    readonly projections: number;
    readonly kvCache: number;
    readonly work: number;
    readonly peak: number;
  };
  /** What the machine was measured to do with these threads (and this ISA), as far as it was. */
  readonly machine: { readonly readGBs?: number; readonly int8Gops?: number };
}

/**
 * Times a model on random tokens: prefill of `promptTokens` and decode of `genTokens`, two tests that both start after
 * `depth` positions of context, which are filled once and untimed, once the weights stay where they are. Texts never end
 * early. The model is a GGUF file or random weights of a shape and a format. Throws what `loadModel` throws.
 */
export async function benchmarkModel(
  model: string | SyntheticModel,
  options: BenchmarkOptions = {},
): Promise<BenchmarkResult> {
  const promptTokens = whole("promptTokens", options.promptTokens ?? 512, 1);
  const genTokens = whole("genTokens", options.genTokens ?? 64, 1);
  const depth = whole("depth", options.depth ?? 0, 0);
  const repeat = whole("repeat", options.repeat ?? 3, 1);
  const positions = depth + Math.max(promptTokens, genTokens);
  const contextLength = options.contextLength ?? positions;
  if (contextLength < positions) {
    throw new UsageError(`the tests need ${positions} positions, the context has ${contextLength}`);
  }
  if (typeof model !== "string" && options.placement === "mapped") {
    throw new UsageError('synthetic weights are in no file that could be mapped; use placement "arena"');
  }
  const machine = await describeMachine();
  const started = performance.now();
  const engine = await load(model, machine, { ...options, contextLength });
  try {
    const loadSeconds = (performance.now() - started) / 1000;
    const times = await timeTests(engine, { promptTokens, genTokens, depth, repeat }, options);
    return { ...summarise(engine, machine, depth, times), repeat, loadSeconds };
  } finally {
    await engine.dispose();
  }
}

function whole(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least && value <= 2 ** 24) return value;
  throw new UsageError(`${name} must be a whole number from ${least} to ${2 ** 24}, not ${value}`);
}

async function load(
  model: string | SyntheticModel,
  machine: Machine,
  options: EngineOptions,
): Promise<Engine> {
  const opened = typeof model === "string" ? await openModel(model, options.onNotice) : openSynthetic(model);
  try {
    return await loadEngine(opened, machine, options);
  } finally {
    await opened.close();
  }
}

interface Counts {
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly depth: number;
  readonly repeat: number;
}

interface Times {
  readonly prefill: Timing;
  readonly decode: Timing;
}

interface Timing {
  readonly tokens: number;
  readonly seconds: number[];
}

/** Tokens of decode that warm up. */
const WARM_UP = 8;

/** Both tests in turns, so that a machine that slows down slows both. */
async function timeTests(engine: Engine, counts: Counts, options: BenchmarkOptions): Promise<Times> {
  const { promptTokens, genTokens, depth, repeat } = counts;
  const { onPhase, signal } = options;
  const text = new RandomText(engine, signal);
  if (depth > 0) onPhase?.(`filling ${depth} positions of context`);
  await text.prefill(depth);
  const timed = async (test: () => Promise<void>): Promise<number> => {
    text.sequence.truncate(depth);
    const start = performance.now();
    await test();
    return (performance.now() - start) / 1000;
  };
  onPhase?.("warming up");
  await timed(() => text.prefill(Math.min(promptTokens, 2 * engine.program.limits.maxRows)));
  await timed(() => text.decode(Math.min(genTokens, WARM_UP)));
  await engine.whenSettled();
  const prefill: Timing = { tokens: promptTokens, seconds: [] };
  const decode: Timing = { tokens: genTokens, seconds: [] };
  for (let i = 1; i <= repeat; i++) {
    onPhase?.(`run ${i} of ${repeat}`);
    prefill.seconds.push(await timed(() => text.prefill(promptTokens)));
    decode.seconds.push(await timed(() => text.decode(genTokens)));
  }
  return { prefill, decode };
}

/** A text of random tokens. */
class RandomText {
  readonly sequence: Sequence;
  private readonly random = new Rng(1);

  constructor(
    private readonly engine: Engine,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.sequence = engine.open();
  }

  /** Many tokens at a time; only the last one's logits are wanted. */
  async prefill(tokens: number): Promise<void> {
    const { maxRows } = this.engine.program.limits;
    for (let done = 0; done < tokens; done += maxRows) {
      const count = Math.min(maxRows, tokens - done);
      const last = done + count === tokens;
      const rows = Array.from({ length: count }, (_, i) => this.row(last && i === count - 1));
      await this.engine.step(rows, this.signal);
    }
  }

  async decode(tokens: number): Promise<void> {
    for (let i = 0; i < tokens; i++) await this.engine.step([this.row(true)], this.signal);
  }

  private row(output: boolean): Row {
    const token = this.random.integer(this.engine.vocabularySize);
    return { sequence: this.sequence, token, output };
  }
}

function summarise(
  engine: Engine,
  machine: Machine,
  depth: number,
  times: Times,
): Omit<BenchmarkResult, "repeat" | "loadSeconds"> {
  const { program, backend } = engine;
  const [prefill, decode] = [testOf(times.prefill), testOf(times.decode)];
  // Token i of n sees the depth, those before it, and itself.
  const positions = depth + (decode.tokens + 1) / 2;
  const bytesPerToken = { weights: weightBytes(program), kvCache: cacheBytes(program, positions) };
  const operations = promptOperations(program, prefill.tokens) / prefill.tokens;
  return {
    backend: backend.kind,
    isa: backend.isa.name,
    threads: backend.threads,
    kv: program.kv.element,
    depth,
    prefill: { ...prefill, gops: (operations * prefill.tokensPerSecond.median) / 1e9 },
    decode: {
      ...decode,
      bytesPerToken,
      gbs: ((bytesPerToken.weights + bytesPerToken.kvCache) * decode.tokensPerSecond.median) / 1e9,
    },
    memory: {
      weights: program.weights.bytes,
      projections: projectionBytes(program),
      kvCache: program.cache.bytes,
      work: program.work.bytes,
      // Of the whole process so far; libuv gives KiB on every system.
      peak: process.resourceUsage().maxRSS * 1024,
    },
    machine: peaks(machine, backend.isa.name, backend.threads),
  };
}

function testOf({ tokens, seconds }: Timing): BenchmarkTest {
  return { tokens, seconds, tokensPerSecond: spread(seconds.map((time) => tokens / time)) };
}

function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
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
