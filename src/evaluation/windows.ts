import { UsageError } from "../base/errors.ts";
import { count } from "../plan/text.ts";

/** Which tokens of a text are scored, and what is before them when they are. */
export interface Protocol {
  /**
   * `llama.cpp`: as its program `llama-perplexity`. Windows lie side by side; the start token takes the place of the first
   * token of each, where the model wants one, and the tokens of the second half are scored: of a window of n those with
   * index n/2 + 1 to n − 1. With a stride: a window begins every `stride` tokens, its last `stride` tokens are scored, and
   * a start token stands before the text alone.
   *
   * `gptq`: as the papers on quantization. Windows lie side by side, and every token but the first of each is scored. With
   * a stride below the window: those that no window before has scored.
   */
  readonly name: "llama.cpp" | "gptq";
  /** Tokens of a window. */
  readonly context: number;
  /** Tokens from one window to the next. */
  readonly stride: number;
  /**
   * Where the start token stands: before the text, at the start of every window (llama.cpp: in place of its first token;
   * gptq: before context − 1 tokens of text, all of which may be scored), or nowhere.
   */
  readonly bos: "text" | "window" | "none";
}

/** What a caller says of a protocol; the rest follows from the model. */
export interface ProtocolOptions {
  /** Default `llama.cpp`. */
  readonly protocol?: Protocol["name"] | undefined;
  /** Tokens of a window. Default: 512, or what the model was trained on or may have where that is less. */
  readonly context?: number | undefined;
  /** Tokens from one window to the next, 1 or more. Default: the windows lie side by side. */
  readonly stride?: number | undefined;
  /** For `gptq`: the start token before the whole text (default) or before every window. */
  readonly bos?: "text" | "window" | undefined;
}

/** A stretch of a text that is run at once. */
export interface Window {
  /** Indices into the text's tokens: the first one, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Index of the first token that is scored. */
  readonly from: number;
  /** Whether the start token is put before it. */
  readonly bos: boolean;
}

/** What decides how a model's texts begin. */
interface StartToken {
  readonly addsBos: boolean;
  readonly bosId: number | undefined;
}

const PROTOCOLS: readonly unknown[] = ["llama.cpp", "gptq"];

/** The protocol in full. Throws `UsageError` for what it cannot be. */
export function resolveProtocol(options: ProtocolOptions, fallback: number, start: StartToken): Protocol {
  const { protocol: name = "llama.cpp", context = fallback, stride } = options;
  if (!PROTOCOLS.includes(name)) throw new UsageError(`protocol must be one of ${PROTOCOLS.join(", ")}`);
  const least = name === "gptq" ? 2 : 3;
  whole("context", context, least, 2 ** 24);
  if (name === "llama.cpp") {
    if (options.bos !== undefined)
      throw new UsageError("bos is for the protocol gptq; llama.cpp's own says it");
    if (stride !== undefined) whole("stride", stride, 1, context - 1);
    const bos = start.addsBos ? (stride === undefined ? "window" : "text") : "none";
    return { name, context, stride: stride ?? context, bos };
  }
  const { bos = start.addsBos ? "text" : "none" } = options;
  if (bos !== "none" && start.bosId === undefined) throw new UsageError("bos: this model has no such token");
  const most = bos === "window" ? context - 1 : context;
  if (stride !== undefined) whole("stride", stride, 1, most);
  return { name, context, stride: stride ?? most, bos };
}

/** Whether the start token is the first of the text's tokens. */
export function startsText({ name, bos }: Protocol): boolean {
  return bos === "text" || (name === "llama.cpp" && bos === "window");
}

/** How many tokens a text must have for so many windows, at most. */
export function tokensOf({ context, stride }: Protocol, windows: number): number {
  return 2 * context + windows * stride;
}

/** The windows of a text of so many tokens, start token included where it stands before the text. */
export function windowsOf(protocol: Protocol, tokens: number): { count: number; at(n: number): Window } {
  const { name, context, stride, bos } = protocol;
  const least = name === "llama.cpp" ? 2 * context : bos === "window" ? context - 1 : context;
  if (tokens < least) {
    throw new UsageError(
      `the text has ${count(tokens, "token")}; ${name}'s protocol needs at least ${least} for a context of ${context}`,
    );
  }
  if (name === "gptq") return gptqWindows(protocol, tokens);
  if (stride === context) {
    return { count: Math.floor(tokens / context), at: (n) => halfScored(protocol, n * context) };
  }
  const at = (n: number) => {
    const end = n * stride + context;
    return { start: n * stride, end, from: end - stride, bos: false };
  };
  return { count: Math.ceil((tokens - context) / stride), at };
}

function halfScored({ context, bos }: Protocol, start: number): Window {
  const replaced = bos === "window";
  const from = start + Math.floor(context / 2) + 1;
  return { start: replaced ? start + 1 : start, end: start + context, from, bos: replaced };
}

function gptqWindows({ context, stride, bos }: Protocol, tokens: number) {
  const led = bos === "window";
  const span = led ? context - 1 : context;
  const at = (n: number): Window => {
    const start = n * stride;
    const scored = n === 0 ? 0 : start + span - stride;
    return { start, end: start + span, from: Math.max(scored, led ? start : start + 1), bos: led };
  };
  return { count: Math.floor((tokens - span) / stride) + 1, at };
}

export function whole(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new UsageError(`${name} must be a whole number from ${least} to ${most}, not ${value}`);
}
