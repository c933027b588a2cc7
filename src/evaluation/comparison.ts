import type { ComparedScore } from "../engine/token-score.ts";
import { type Estimate, exponential, Moments, quantile } from "./statistics.ts";

/** Values at shares of the tokens, sorted. */
export interface Distribution {
  readonly min: number;
  readonly percentile1: number;
  readonly percentile5: number;
  readonly median: number;
  readonly percentile95: number;
  readonly percentile99: number;
  readonly max: number;
}

/** How a model's predictions of the scored tokens differ from those of a base. */
export interface PerplexityComparison {
  /** The base's. */
  readonly perplexity: Estimate;
  /** The model's perplexity over the base's; both score the same tokens, so the error is that of paired differences. */
  readonly ratio: Estimate;
  /** Kullback–Leibler divergence from the base, Σ p_base ln(p_base / p) over the vocabulary: nats a token. */
  readonly divergence: Estimate & Distribution;
  /** Share of positions where both find the same token the likeliest. */
  readonly sameTop: Estimate;
  /** Δp: the probability of the text's token, less the base's. */
  readonly probability: Estimate & Distribution & { readonly rootMeanSquare: number };
}

/** Collects what two models say of the same tokens. 8 bytes a token. */
export class ComparisonStatistics {
  private readonly surprise = new Moments();
  private readonly difference = new Moments();
  private readonly same = new Moments();
  private readonly divergence: Sample;
  private readonly probability: Sample;

  /** For at most so many tokens. */
  constructor(tokens: number) {
    this.divergence = new Sample(tokens);
    this.probability = new Sample(tokens);
  }

  add({ logProbability, base, divergence, sameTop }: ComparedScore): void {
    this.surprise.add(-base.logProbability);
    this.difference.add(base.logProbability - logProbability);
    this.same.add(sameTop ? 1 : 0);
    this.divergence.add(divergence);
    this.probability.add(Math.exp(logProbability) - Math.exp(base.logProbability));
  }

  result(): PerplexityComparison {
    return {
      perplexity: exponential(this.surprise.estimate()),
      ratio: exponential(this.difference.estimate()),
      divergence: this.divergence.summary(),
      sameTop: this.same.estimate(),
      probability: {
        ...this.probability.summary(),
        rootMeanSquare: this.probability.moments.rootMeanSquare(),
      },
    };
  }
}

/** Values that are kept, since their distribution is wanted. */
class Sample {
  readonly moments = new Moments();
  private readonly values: Float32Array;

  constructor(most: number) {
    this.values = new Float32Array(most);
  }

  add(value: number): void {
    this.values[this.moments.count] = value;
    this.moments.add(value);
  }

  summary(): Estimate & Distribution {
    const sorted = this.values.slice(0, this.moments.count).sort();
    const at = (share: number) => quantile(sorted, share);
    return {
      ...this.moments.estimate(),
      min: at(0),
      percentile1: at(0.01),
      percentile5: at(0.05),
      median: at(0.5),
      percentile95: at(0.95),
      percentile99: at(0.99),
      max: at(1),
    };
  }
}
