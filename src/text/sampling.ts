import { Rng } from "../base/rng.ts";
import { allTokens, likeliestTokens, topTokens } from "./candidates.ts";
import { type ResolvedSampling, resolveSampling, type SamplingOptions } from "./sampling-options.ts";

/**
 * Chooses tokens. The steps, in llama.cpp's order and with its meaning:
 *
 * 1. repetition penalty: the logit of every token among the last `repeatLastN` accepted is divided by
 *    `repeatPenalty` if it is positive, else multiplied by it (once, however often the token occurs);
 * 2. temperature 0 takes the greatest logit (of equals the lowest id), and the rest is skipped;
 * 3. `topK`;
 * 4. `topP`, of the probabilities of what `topK` left, so that the token that reaches `topP` is kept;
 * 5. `minP`;
 * 6. temperature, then one draw.
 *
 * Hugging Face applies the temperature before 3, so that the same `topP` keeps fewer or more tokens there.
 */
export class Sampler {
  /** With the seed that was drawn, if none was given. */
  readonly options: ResolvedSampling;
  private readonly rng: Rng;
  /** The last tokens; once it is full, the oldest is at `oldest`. */
  private readonly recent: number[] = [];
  private oldest = 0;
  private scratch = new Float32Array(0);

  /** Throws `UsageError` for an option out of range. */
  constructor(options: SamplingOptions = {}) {
    this.options = resolveSampling(options);
    this.rng = new Rng(this.options.seed);
  }

  /** Tells of a token of the text: of the prompt, or one that was chosen. */
  accept(token: number): void {
    const { repeatLastN } = this.options;
    if (this.recent.length < repeatLastN) {
      this.recent.push(token);
    } else if (repeatLastN > 0) {
      this.recent[this.oldest] = token;
      this.oldest = (this.oldest + 1) % repeatLastN;
    }
  }

  /**
   * The next token (not accepted yet).
   *
   * @param logits one per token of the vocabulary, left as they are. −∞ forbids a token; NaN counts as −∞.
   * Undefined if no token is possible.
   */
  sample(logits: Float32Array): number | undefined {
    const { temperature, topK, topP, minP } = this.options;
    const adjusted = this.penalize(logits);
    const best = argmax(adjusted);
    if (best < 0) return undefined;
    const greatest = adjusted[best] as number;
    if (temperature === 0 || topK === 1 || greatest === Number.POSITIVE_INFINITY) return best;
    let ids = topK > 0 && topK < adjusted.length ? topTokens(adjusted, topK) : allTokens(adjusted);
    if (topP < 1) ids = likeliestTokens(adjusted, ids, greatest, topP);
    if (minP > 0) ids = atLeast(adjusted, ids, greatest + Math.log(minP));
    return this.draw(adjusted, ids, greatest);
  }

  private penalize(logits: Float32Array): Float32Array {
    const { repeatPenalty } = this.options;
    if (repeatPenalty === 1 || this.recent.length === 0) return logits;
    if (this.scratch.length !== logits.length) this.scratch = new Float32Array(logits.length);
    this.scratch.set(logits);
    for (const token of this.recent) {
      const logit = logits[token];
      if (logit === undefined) continue;
      this.scratch[token] = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
    }
    return this.scratch;
  }

  /** One of `ids`, each with a chance of e^(logit / temperature). */
  private draw(logits: Float32Array, ids: Int32Array, greatest: number): number {
    const { temperature } = this.options;
    const upTo = new Float64Array(ids.length);
    let total = 0;
    for (let i = 0; i < ids.length; i++) {
      total += Math.exp(((logits[ids[i] as number] as number) - greatest) / temperature);
      upTo[i] = total;
    }
    const target = this.rng.uniform() * total;
    let chosen = 0;
    while ((upTo[chosen] as number) <= target) chosen++;
    return ids[chosen] as number;
  }
}

/** The token of the greatest logit, of equals the lowest; −1 if none is above −∞. */
function argmax(logits: Float32Array): number {
  let best = -1;
  let greatest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (logit > greatest) {
      greatest = logit;
      best = id;
    }
  }
  return best;
}

function atLeast(logits: Float32Array, ids: Int32Array, least: number): Int32Array {
  return ids.filter((id) => (logits[id] as number) >= least);
}
