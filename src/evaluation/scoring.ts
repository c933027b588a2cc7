import type { Writer } from "../api/generation.ts";
import { FileFormatError, UsageError } from "../base/errors.ts";
import type { BaseLogits, RowToScore } from "../engine/engine.ts";
import type { ComparedScore, TokenScore } from "../engine/token-score.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Scores tokens of texts with one model, or with two that are compared. */
export interface Scorer<S extends TokenScore> {
  /** Tokens of a text, at most. */
  readonly contextLength: number;
  /** Rows of a step, at most. */
  readonly maxRows: number;
  /** Keeps the first tokens of the text that was run last. */
  truncate(length: number): void;
  /** Runs rows behind those that are there; the scores of their targets, in order. */
  run(rows: readonly RowToScore[]): Promise<S[]>;
}

/** What a model is compared with. */
export interface Base {
  /** Of the model's file. */
  readonly path: string;
  readonly tokenizer: Tokenizer;
  /** Logits of a row. */
  readonly vocabularySize: number;
  /** Tokens of a text, and rows of a step, at most. */
  readonly limits: { readonly contextLength: number; readonly maxRows: number };
  readonly logits: BaseLogits;
  /** Keeps the first tokens of the text that was run last. */
  truncate(length: number): void;
}

/** A loaded model as a base: it runs whatever the other one runs. */
export function baseOf({ path, tokenizer, engine, text }: Writer): Base {
  const { vocabularySize } = engine;
  const logits = engine.asBase(text.sequence);
  const { limits } = engine.program;
  const end = (rows: readonly RowToScore[]) => {
    logits.end(rows);
    text.tokens.push(...rows.map(({ token }) => token));
  };
  return {
    path,
    tokenizer,
    vocabularySize,
    limits,
    logits: { ...logits, end },
    truncate: (length) => forget(text, length),
  };
}

/** Scores by one model; `onLogits` sees the logits of the scored rows, in order. */
export function scorerOf(
  { path, engine, text }: Writer,
  signal: AbortSignal | undefined,
  onLogits?: (logits: Uint8Array) => Promise<void>,
): Scorer<TokenScore> {
  const { contextLength, maxRows } = engine.program.limits;
  return {
    contextLength,
    maxRows,
    truncate: (length) => forget(text, length),
    run: async (rows) => {
      const { sequence } = text;
      const scores = await engine.score(
        rows.map((row) => ({ ...row, sequence })),
        signal,
        onLogits,
      );
      text.tokens.push(...rows.map(({ token }) => token));
      for (const score of scores) checkFinite(score, path);
      return scores;
    },
  };
}

/** Scores by a model, beside those of a base with the same vocabulary. Throws `UsageError` for another one. */
export function comparerOf(
  model: Writer,
  base: Base,
  signal: AbortSignal | undefined,
): Scorer<ComparedScore> {
  checkVocabulary(model, base);
  const [own, theirs] = [model.engine.program.limits, base.limits];
  return {
    contextLength: Math.min(own.contextLength, theirs.contextLength),
    maxRows: Math.min(own.maxRows, theirs.maxRows),
    truncate: (length) => {
      forget(model.text, length);
      base.truncate(length);
    },
    run: async (rows) => {
      const { sequence } = model.text;
      const scores = await model.engine.compare(
        rows.map((row) => ({ ...row, sequence })),
        base.logits,
        signal,
      );
      model.text.tokens.push(...rows.map(({ token }) => token));
      for (const score of scores) {
        checkFinite(score, model.path);
        checkFinite(score.base, base.path);
      }
      return scores;
    },
  };
}

function forget({ sequence, tokens }: Writer["text"], length: number): void {
  sequence.truncate(length);
  tokens.length = Math.min(tokens.length, length);
}

function checkFinite({ logProbability }: TokenScore, path: string): void {
  if (!Number.isNaN(logProbability)) return;
  throw new FileFormatError(path, "weights", "give logits that are not finite; the file is damaged");
}

/** Ids must mean the same to both, or their predictions cannot be compared. */
function checkVocabulary(model: Writer, base: Base): void {
  const [own, theirs] = [model.tokenizer, base.tokenizer];
  const refuse = (why: string) => {
    throw new UsageError(`${base.path} cannot be the base: ${why}`);
  };
  if (own.vocabularySize !== theirs.vocabularySize) {
    refuse(`it has ${theirs.vocabularySize} tokens, the model ${own.vocabularySize}`);
  }
  const [rows, baseRows] = [model.engine.vocabularySize, base.vocabularySize];
  if (rows !== baseRows) refuse(`its output has ${baseRows} rows, the model's ${rows}`);
  for (let id = 0; id < own.vocabularySize; id++) {
    if (Buffer.compare(own.tokenBytes(id), theirs.tokenBytes(id)) !== 0) {
      refuse(`its token ${id} is another one than the model's`);
    }
  }
}

/**
 * The scores of the tokens from index `from` (1 or more) on, in order. The first `cached` tokens of the text, fewer than
 * `from`, are those that the scorer holds.
 */
export async function scoreTokens<S extends TokenScore>(
  scorer: Scorer<S>,
  tokens: ArrayLike<number>,
  from: number,
  cached = 0,
): Promise<S[]> {
  scorer.truncate(cached);
  const scores: S[] = [];
  const end = tokens.length - 1;
  for (let start = cached; start < end; start += scorer.maxRows) {
    const count = Math.min(scorer.maxRows, end - start);
    const rows = Array.from({ length: count }, (_, i) => ({
      token: tokens[start + i] as number,
      target: start + i + 1 >= from ? tokens[start + i + 1] : undefined,
    }));
    scores.push(...(await scorer.run(rows)));
  }
  return scores;
}
