import type { Losses } from "./head-runner.ts";
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

  /**
   * How far the predictions of a quantized model are off.
   *
   * @param streams of the texts behind its last layer
   */
  async losses(streams: readonly Stream[]): Promise<Losses> {
    const head = await this.parts.headRunner();
    const all: Losses[] = [];
    try {
      for (const [i, text] of this.texts.entries()) {
        all.push(...(await head.compare(text, this.base[i] as Stream, [streams[i] as Stream])));
      }
    } finally {
      head.release();
    }
    const divergence = all.reduce((sum, losses) => sum + losses.divergence, 0);
    return { divergence, surprises: all.flatMap(({ surprises }) => surprises) };
  }
}
