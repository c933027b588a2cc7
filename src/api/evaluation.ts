import { UsageError } from "../base/errors.ts";
import type { Engine, Row } from "../engine/engine.ts";
import type { CachedText } from "./generation.ts";

/** Logits after one token of a text: how likely each token of the vocabulary comes next (unnormalized). */
export interface PositionLogits {
  readonly position: number;
  /** One f32 per token of the vocabulary. */
  readonly logits: Float32Array;
}

/** The logits after every token of a text, in order, a few positions per step. */
export async function* evaluateTokens(
  engine: Engine,
  text: CachedText,
  ids: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<PositionLogits, void, undefined> {
  const { contextLength, maxRows, maxOutputs } = engine.program.limits;
  if (ids.length > contextLength) {
    throw new UsageError(
      `${ids.length} tokens are more than the context of ${contextLength}; raise contextLength`,
    );
  }
  text.sequence.truncate(0);
  text.tokens.length = 0;
  const size = Math.min(maxRows, maxOutputs);
  for (let start = 0; start < ids.length; start += size) {
    const part = ids.slice(start, start + size);
    const rows = part.map((token): Row => ({ sequence: text.sequence, token, output: true }));
    const all = await engine.step(rows, signal);
    text.tokens.push(...part);
    for (const [i, logits] of all.entries()) yield { position: start + i, logits };
  }
}
