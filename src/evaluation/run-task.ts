import { commonPrefix, type Writer } from "../api/generation.ts";
import { UsageError } from "../base/errors.ts";
import type { TokenScore } from "../engine/token-score.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Scorer, scorerOf, scoreTokens } from "./scoring.ts";
import { type Estimate, exponential, Moments } from "./statistics.ts";
import type { ChoiceItem, Continuation, Task } from "./task.ts";

export interface TaskProgress {
  readonly done: number;
  readonly total: number;
  /** Of the items that are done. */
  readonly accuracy: Estimate;
}

export interface TaskOptions {
  readonly onProgress?: ((progress: TaskProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How well a model does a task. Errors are standard errors over the items. */
export interface TaskResult {
  readonly kind: Task["kind"];
  readonly layout: string;
  readonly items: number;
  /** Share of items whose right ending is the likeliest; of a cloze, whose ending greedy decoding gives. */
  readonly accuracy: Estimate;
  /** The same by log-likelihood per byte of the ending, without its first space. Where endings differ. */
  readonly accuracyNormalized?: Estimate;
  /** Accuracy of guesses: the mean of 1 / choices. */
  readonly chance?: number;
  /** Of a cloze: e to the mean surprise at an ending as a whole. */
  readonly perplexity?: Estimate;
  /** Texts whose start was cut off since they are longer than the context. */
  readonly truncated: number;
  /** Tokens that were run: what items share is run once. */
  readonly tokens: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
}

/** How likely an ending is after its context. */
interface EndingScore {
  /** Natural logarithm. */
  readonly logLikelihood: number;
  /** Whether each of its tokens is the likeliest where it stands. */
  readonly greedy: boolean;
}

/**
 * Runs a task. Throws `UsageError` for an item that the model has no tokens for, `FileFormatError` for weights that give no
 * finite logits, `AbortedError` for the signal.
 */
export async function runTask(
  model: Writer,
  task: Task,
  { onProgress, signal }: TaskOptions,
): Promise<TaskResult> {
  const judge = new Judge(model, scorerOf(model, signal));
  const started = performance.now();
  const found =
    task.kind === "choice" ? await answer(judge, task, onProgress) : await complete(judge, task, onProgress);
  const seconds = (performance.now() - started) / 1000;
  const { kind, layout, items } = task;
  const { truncated, tokens } = judge;
  const speed = { truncated, tokens, seconds, tokensPerSecond: tokens / seconds };
  return { kind, layout, items: items.length, ...found, ...speed };
}

type OfKind<K extends Task["kind"]> = Extract<Task, { readonly kind: K }>;
type OnProgress = TaskOptions["onProgress"];

async function answer(judge: Judge, { items, endingsDiffer }: OfKind<"choice">, onProgress: OnProgress) {
  const [accuracy, normalized, chance] = [new Moments(), new Moments(), new Moments()];
  for (const [i, item] of items.entries()) {
    const { likeliest, perByte } = await choose(judge, item);
    accuracy.add(likeliest === item.right ? 1 : 0);
    normalized.add(perByte === item.right ? 1 : 0);
    chance.add(1 / item.choices.length);
    onProgress?.({ done: i + 1, total: items.length, accuracy: accuracy.estimate() });
  }
  return {
    accuracy: accuracy.estimate(),
    ...(endingsDiffer ? { accuracyNormalized: normalized.estimate() } : {}),
    chance: chance.estimate().value,
  };
}

async function complete(judge: Judge, { items }: OfKind<"cloze">, onProgress: OnProgress) {
  const [accuracy, surprise] = [new Moments(), new Moments()];
  for (const [i, item] of items.entries()) {
    const { logLikelihood, greedy } = await judge.score(item);
    accuracy.add(greedy ? 1 : 0);
    surprise.add(-logLikelihood);
    onProgress?.({ done: i + 1, total: items.length, accuracy: accuracy.estimate() });
  }
  return { accuracy: accuracy.estimate(), perplexity: exponential(surprise.estimate()) };
}

/** The choices that the model finds the likeliest, as a whole and per byte: the first of equals. */
async function choose(judge: Judge, { choices }: ChoiceItem) {
  const [whole, perByte]: [number[], number[]] = [[], []];
  for (const choice of choices) {
    const { logLikelihood } = await judge.score(choice);
    whole.push(logLikelihood);
    perByte.push(logLikelihood / Math.max(1, Buffer.byteLength(choice.ending.trimStart())));
  }
  const best = (values: readonly number[]) => values.indexOf(Math.max(...values));
  return { likeliest: best(whole), perByte: best(perByte) };
}

/** Scores endings. What a text shares with the one before it is in the cache, and not run again. */
class Judge {
  truncated = 0;
  tokens = 0;

  constructor(
    private readonly model: Writer,
    private readonly scorer: Scorer<TokenScore>,
  ) {}

  async score(item: Continuation): Promise<EndingScore> {
    const encoded = encodePair(this.model.tokenizer, item);
    // The last token of a text is predicted, not run.
    const over = Math.max(0, encoded.ids.length - 1 - this.scorer.contextLength);
    if (over > 0) this.truncated++;
    const ids = encoded.ids.slice(over);
    const from = Math.max(1, encoded.from - over);
    const cached = Math.min(commonPrefix(this.model.text.tokens, ids), from - 1);
    const scores = await scoreTokens(this.scorer, ids, from, cached);
    this.tokens += ids.length - 1 - cached;
    return {
      logLikelihood: scores.reduce((sum, { logProbability }) => sum + logProbability, 0),
      greedy: scores.every(({ top }) => top),
    };
  }
}

/**
 * The tokens of context and ending as one text, and where those of the ending begin: behind as many tokens as the context
 * alone has. Space at the end of the context is the ending's, since tokens begin with it.
 */
function encodePair(tokenizer: Tokenizer, { context, ending }: Continuation) {
  const ids = tokenizer.encode(context + ending);
  const before = tokenizer.encode(context.trimEnd()).length;
  const start = tokenizer.bosId ?? tokenizer.eosId;
  if (before > 0) return checked(ids, before);
  if (start === undefined) throw new UsageError("an item has no context, and this model has no start token");
  return checked([start, ...ids], 1);
}

function checked(ids: readonly number[], from: number) {
  if (from < ids.length) return { ids, from };
  throw new UsageError("an item has an ending without tokens of its own");
}
