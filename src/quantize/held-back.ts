import type { Loss } from "./head-runner.ts";
import type { ModelParts } from "./model-parts.ts";
import type { Stream } from "./part-runner.ts";

/** Texts that no weight was adapted to, and what the model as it is makes of them. */
export class HeldBackTexts {
  private constructor(
    private readonly parts: ModelParts,
    readonly texts: readonly (readonly number[])[],
    private readonly base: readonly Stream[],
  ) {}

  /** Runs the model as it is. */
  static async create(parts: ModelParts, texts: readonly (readonly number[])[]): Promise<HeldBackTexts> {
    const streams = await parts.embed(texts);
    for (let n = 0; n < parts.layerCount; n++) {
      const runner = await parts.runner(n);
      try {
        await runner.load();
        runner.observe(undefined);
        for (const [i, text] of texts.entries()) await runner.run(text, streams[i] as Stream);
      } finally {
        runner.release();
        parts.drop(n);
      }
    }
    return new HeldBackTexts(parts, texts, streams);
  }

  /** Tokens that are predicted. */
  get tokens(): number {
    return this.texts.reduce((sum, { length }) => sum + length - 1, 0);
  }

  /**
   * How far the predictions of a quantized model are off, on average over the tokens.
   *
   * @param streams of the texts behind its last layer
   */
  async loss(streams: readonly Stream[]): Promise<Loss> {
    const head = await this.parts.headRunner();
    let [divergence, surprise] = [0, 0];
    try {
      for (const [i, text] of this.texts.entries()) {
        const [sums] = (await head.compare(text, this.base[i] as Stream, [streams[i] as Stream])) as [Loss];
        divergence += sums.divergence;
        surprise += sums.surprise;
      }
    } finally {
      head.release();
    }
    const tokens = Math.max(1, this.tokens);
    return { divergence: divergence / tokens, surprise: surprise / tokens };
  }
}
