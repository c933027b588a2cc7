import type { Writer } from "../api/generation.ts";
import { UsageError } from "../base/errors.ts";
import type { TokenScore } from "../engine/token-score.ts";
import { ComparisonStatistics, type PerplexityComparison } from "./comparison.ts";
import { type Base, comparerOf, type Scorer, scorerOf, scoreTokens } from "./scoring.ts";
import { type Estimate, exponential, Moments } from "./statistics.ts";
import { textTokens } from "./text-tokens.ts";
import {
  type Protocol,
  type ProtocolOptions,
  resolveProtocol,
  startsText,
  tokensOf,
  type Window,
  whole,
  windowsOf,
} from "./windows.ts";

export interface PerplexityProgress {
  /** Reading the text into tokens, then running them. */
  readonly stage: "tokenizing" | "scoring";
  /** Tokens read; windows run. */
  readonly done: number;
  /** Windows. Unknown while the text is read. */
  readonly total: number | undefined;
  /** Of the windows that are done. */
  readonly perplexity?: Estimate;
}

export interface PerplexityOptions extends ProtocolOptions {
  /** Windows to run, from the start of the text, at most. Default: all. */
  readonly chunks?: number | undefined;
  /** Keep the log-probability of every scored token. Default: no. */
  readonly keepTokens?: boolean | undefined;
  readonly onProgress?: ((progress: PerplexityProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a text's perplexity is, with everything that decides the number beside the model and how it runs. */
export interface PerplexityResult {
  readonly protocol: Protocol;
  /** Windows that were run. */
  readonly windows: number;
  /** Tokens of these windows. */
  readonly tokens: number;
  /** Tokens whose probability counts. */
  readonly scored: number;
  /** e to the mean surprise, −ln p, at the scored tokens; the error is the standard error of that mean, to first order. */
  readonly perplexity: Estimate;
  readonly seconds: number;
  /** Tokens of windows a second, without reading the text. */
  readonly tokensPerSecond: number;
  /** Where there is a base. */
  readonly comparison?: PerplexityComparison;
  /** Natural logarithms, in the order of the text, if they are to be kept. */
  readonly logProbabilities?: Float32Array;
}

const USUAL_CONTEXT = 512;

/** What only callers within the engine's own memory layout ask for. */
interface LogitOptions {
  /**
   * Without a base: called with the logits of the scored tokens, some rows at a time, in order, with the padding of rows.
   * They are valid until it returns.
   */
  readonly onLogits?: (logits: Uint8Array) => Promise<void>;
}

/**
 * The perplexity of a text, by one model or compared with a base. Throws `UsageError` for options out of range, a text
 * too short for the protocol and a base with another vocabulary, `FileFormatError` for weights that give no finite
 * logits, `AbortedError` for the signal.
 */
export async function measurePerplexity(
  model: Writer,
  base: Base | undefined,
  text: string,
  options: PerplexityOptions & LogitOptions,
): Promise<PerplexityResult> {
  const { signal, onLogits } = options;
  if (base === undefined) {
    const scorer = scorerOf(model, signal, onLogits);
    return runWindows(scorer, await planRun(model, scorer, text, options), options, () => undefined);
  }
  const scorer = comparerOf(model, base, signal);
  const run = await planRun(model, scorer, text, options);
  const statistics = new ComparisonStatistics(scoredTokens(run.windows));
  const result = await runWindows(scorer, run, options, (score) => statistics.add(score));
  return { ...result, comparison: statistics.result() };
}

interface Windows {
  readonly count: number;
  at(n: number): Window;
}

/** What is to be run: windows of a text's tokens. */
interface Run {
  readonly protocol: Protocol;
  readonly ids: Int32Array;
  readonly windows: Windows;
  readonly bos: number | undefined;
}

async function planRun(
  { tokenizer, engine }: Writer,
  { contextLength }: Scorer<TokenScore>,
  text: string,
  options: PerplexityOptions,
): Promise<Run> {
  const { chunks, onProgress, signal } = options;
  if (chunks !== undefined) whole("chunks", chunks, 1, 2 ** 31 - 1);
  const trained = engine.program.spec.config.contextLength;
  const protocol = resolveProtocol(options, Math.min(USUAL_CONTEXT, trained, contextLength), tokenizer);
  if (protocol.context > contextLength) {
    throw new UsageError(
      `windows of ${protocol.context} tokens are more than the context of ${contextLength}; raise contextLength`,
    );
  }
  const ids = await textTokens(tokenizer, text, {
    addBos: startsText(protocol),
    most: chunks === undefined ? Number.POSITIVE_INFINITY : tokensOf(protocol, chunks),
    onTokens: (done) => onProgress?.({ stage: "tokenizing", done, total: undefined }),
    signal,
  });
  const { count, at } = windowsOf(protocol, ids.length);
  return { protocol, ids, windows: { count: Math.min(count, chunks ?? count), at }, bos: tokenizer.bosId };
}

/** All windows but the first score equally many. */
function scoredTokens({ count, at }: Windows): number {
  const scored = ({ end, from }: Window) => end - from;
  return scored(at(0)) + (count - 1) * scored(at(count - 1));
}

async function runWindows<S extends TokenScore>(
  scorer: Scorer<S>,
  { protocol, ids, windows, bos }: Run,
  { keepTokens, onProgress }: PerplexityOptions,
  onScore: (score: S) => void,
): Promise<PerplexityResult> {
  const surprise = new Moments();
  const kept = keepTokens ? new Float32Array(scoredTokens(windows)) : undefined;
  const started = performance.now();
  let tokens = 0;
  for (let n = 0; n < windows.count; n++) {
    const { start, end, from, bos: led } = windows.at(n);
    const window = [...(led ? [bos as number] : []), ...ids.subarray(start, end)];
    const scores = await scoreTokens(scorer, window, window.length - (end - from));
    for (const score of scores) {
      if (kept !== undefined) kept[surprise.count] = score.logProbability;
      surprise.add(-score.logProbability);
      onScore(score);
    }
    tokens += window.length;
    const perplexity = exponential(surprise.estimate());
    onProgress?.({ stage: "scoring", done: n + 1, total: windows.count, perplexity });
  }
  const seconds = (performance.now() - started) / 1000;
  return {
    protocol,
    windows: windows.count,
    tokens,
    scored: surprise.count,
    perplexity: exponential(surprise.estimate()),
    seconds,
    tokensPerSecond: tokens / seconds,
    ...(kept === undefined ? {} : { logProbabilities: kept }),
  };
}
