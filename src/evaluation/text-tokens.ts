import { AbortedError } from "../base/errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** After how long the event loop gets its turn (milliseconds). */
const BUSY = 20;
const FIRST_CAPACITY = 1 << 16;

export interface TextTokensOptions {
  readonly addBos: boolean;
  /** Stop when there are this many. */
  readonly most: number;
  readonly onTokens?: ((tokens: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The token ids of a text of any length: 4 bytes each. Throws `AbortedError` for the signal. */
export async function textTokens(
  tokenizer: Tokenizer,
  text: string,
  { addBos, most, onTokens, signal }: TextTokensOptions,
): Promise<Int32Array> {
  let ids = new Int32Array(FIRST_CAPACITY);
  let length = 0;
  let resumed = performance.now();
  for (const part of tokenizer.encodeParts(text, { addBos })) {
    if (length + part.length > ids.length) {
      const larger = new Int32Array(2 * (length + part.length));
      larger.set(ids.subarray(0, length));
      ids = larger;
    }
    ids.set(part, length);
    length += part.length;
    if (length >= most) break;
    if (performance.now() - resumed < BUSY) continue;
    onTokens?.(length);
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted) throw new AbortedError();
    resumed = performance.now();
  }
  return ids.subarray(0, Math.min(length, most));
}
