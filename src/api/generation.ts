import { AbortedError, FileFormatError, UsageError } from "../base/errors.ts";
import type { Engine, Row } from "../engine/engine.ts";
import type { Sequence } from "../engine/page-pool.ts";
import { Sampler } from "../text/sampling.ts";
import type { SamplingOptions } from "../text/sampling-options.ts";
import { StopStrings } from "../text/stop.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { Utf8Stream } from "../text/utf8-stream.ts";

/** How text is generated. The sampling options and their defaults are `SamplingOptions`'. */
export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate, at most. Default: until the model ends the text or its context is full. */
  readonly maxTokens?: number | undefined;
  /** The text ends before any of these; they are not part of it. */
  readonly stop?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Why a text ended: the model's own end token, `maxTokens`, a stop string, or a full context. */
export type StopReason = "end" | "max-tokens" | "stop" | "context";

/** What a generation came to; the return value of the generator. */
export interface GenerationResult {
  readonly stopReason: StopReason;
  readonly promptTokens: number;
  /** Prompt tokens whose keys and values were still in the cache from the text before. */
  readonly reusedTokens: number;
  readonly generatedTokens: number;
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  /** The seed that was used, so that the text can be had again. */
  readonly seed: number;
}

/** What writes a text. */
export interface Writer {
  /** Of the model's file. */
  readonly path: string;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
  readonly text: CachedText;
}

/** A text in the KV cache: the tokens whose keys and values are there. */
export interface CachedText {
  readonly sequence: Sequence;
  readonly tokens: number[];
}

/**
 * Runs a prompt through the model in steps of bounded size; returns the logits after its last token. Tokens that the
 * cache already has are not run again.
 */
async function prefill(
  engine: Engine,
  text: CachedText,
  prompt: readonly number[],
  signal: AbortSignal | undefined,
): Promise<{ logits: Float32Array; reused: number }> {
  const reused = commonPrefix(text.tokens, prompt.slice(0, -1));
  text.sequence.truncate(reused);
  text.tokens.length = reused;
  const { maxRows } = engine.program.limits;
  let logits: Float32Array | undefined;
  for (let start = reused; start < prompt.length; start += maxRows) {
    const part = prompt.slice(start, start + maxRows);
    const last = start + part.length === prompt.length;
    const rows = part.map(
      (token, i): Row => ({ sequence: text.sequence, token, output: last && i === part.length - 1 }),
    );
    [logits] = await engine.step(rows, signal);
    text.tokens.push(...part);
  }
  if (logits === undefined) throw new UsageError("the prompt is empty, and this model has no start token");
  return { logits, reused };
}

/** How many tokens two texts begin with alike. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** The next token. `FileFormatError` if the model computes none. */
function nextToken(sampler: Sampler, logits: Float32Array, path: string): number {
  const token = sampler.sample(logits);
  if (token !== undefined && logits[token] !== Number.POSITIVE_INFINITY) return token;
  throw new FileFormatError(path, "weights", "give logits that are not finite; the file is damaged");
}

/** Generates text after a prompt, piece by piece; returns what it came to. */
export async function* generateText(
  { path, tokenizer, engine, text }: Writer,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<string, GenerationResult, undefined> {
  const { contextLength } = engine.program.limits;
  const { maxTokens = Number.POSITIVE_INFINITY, signal } = options;
  if (!(maxTokens >= 0)) throw new UsageError(`maxTokens must be 0 or more, not ${maxTokens}`);
  if (prompt.length > contextLength) {
    throw new UsageError(
      `the prompt has ${prompt.length} tokens, the context holds ${contextLength}: shorten it or raise contextLength`,
    );
  }
  const sampler = new Sampler(options);
  const stops = new StopStrings(options.stop ?? []);
  const characters = new Utf8Stream();
  for (const token of prompt) sampler.accept(token);
  const start = performance.now();
  let { logits, reused } = await prefill(engine, text, prompt, signal);
  const prefilled = performance.now();
  let generated = 0;
  let stopReason: StopReason | undefined;
  while (stopReason === undefined) {
    if (signal?.aborted) throw new AbortedError();
    if (generated >= maxTokens) {
      stopReason = "max-tokens";
      break;
    }
    const token = nextToken(sampler, logits, path);
    if (tokenizer.eosIds.has(token)) {
      stopReason = "end";
      break;
    }
    generated++;
    sampler.accept(token);
    const piece = stops.push(tokenizer.isSpecial(token) ? "" : characters.push(tokenizer.tokenBytes(token)));
    if (piece !== "") yield piece;
    if (stops.stoppedBy !== undefined) stopReason = "stop";
    else if (text.tokens.length >= contextLength) stopReason = "context";
    else if (generated < maxTokens) {
      logits = (
        await engine.step([{ sequence: text.sequence, token, output: true }], signal)
      )[0] as Float32Array;
      text.tokens.push(token);
    }
  }
  const rest = stops.stoppedBy === undefined ? stops.push(characters.flush()) + stops.flush() : "";
  if (rest !== "") yield rest;
  if (stops.stoppedBy !== undefined) stopReason = "stop";
  return {
    stopReason,
    promptTokens: prompt.length,
    reusedTokens: reused,
    generatedTokens: generated,
    prefillSeconds: (prefilled - start) / 1000,
    decodeSeconds: (performance.now() - prefilled) / 1000,
    seed: sampler.options.seed,
  };
}
