import { UsageError } from "../base/errors.ts";

/** Bounds on the work per piece of text. */
const MOST_STRINGS = 64;
const LONGEST_STRING = 1024;

/**
 * Ends a streamed text where one of the stop strings is complete, whichever is complete first (of those, the
 * longest). Text that may turn out to be the start of a stop string is held back, so no piece given out contains
 * any of it; how the text is cut into pieces makes no difference.
 */
export class StopStrings {
  private held = "";
  private found: string | undefined;

  /** Throws `UsageError` for an empty or overlong stop string, or too many. */
  constructor(private readonly strings: readonly string[]) {
    if (!Array.isArray(strings))
      throw new UsageError(`stop must be an array of strings, not ${typeof strings}`);
    if (strings.length > MOST_STRINGS) {
      throw new UsageError(`stop: ${strings.length} strings are more than ${MOST_STRINGS}`);
    }
    for (const string of strings) {
      if (typeof string === "string" && string.length > 0 && string.length <= LONGEST_STRING) continue;
      throw new UsageError(`stop: each must be a string of 1 to ${LONGEST_STRING} characters`);
    }
  }

  /** The stop string that ended the text. */
  get stoppedBy(): string | undefined {
    return this.found;
  }

  /** The text that can be given out now that `piece` has come: "" after the end. */
  push(piece: string): string {
    if (this.found !== undefined) return "";
    const text = this.held + piece;
    const match = firstCompleted(text, this.strings);
    if (match !== undefined) {
      this.found = match.string;
      this.held = "";
      return text.slice(0, match.start);
    }
    const keep = this.partialLength(text);
    this.held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back, when the text ends without a stop string. */
  flush(): string {
    const rest = this.held;
    this.held = "";
    return rest;
  }

  /** Length of the longest end of `text` that a stop string starts with. */
  private partialLength(text: string): number {
    const longest = this.strings.reduce((most, string) => Math.max(most, string.length - 1), 0);
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.strings.some((string) => string.length > length && string.startsWith(end))) return length;
    }
    return 0;
  }
}

function firstCompleted(text: string, strings: readonly string[]) {
  let first: { readonly start: number; readonly end: number; readonly string: string } | undefined;
  for (const string of strings) {
    const start = text.indexOf(string);
    if (start < 0) continue;
    const end = start + string.length;
    if (first === undefined || end < first.end || (end === first.end && start < first.start)) {
      first = { start, end, string };
    }
  }
  return first;
}
