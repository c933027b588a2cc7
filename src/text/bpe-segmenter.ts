import type { BpeMerges } from "./bpe-merges.ts";
import { BpeRun } from "./bpe-run.ts";
import { type Segmenter, STEPS } from "./segmenter.ts";

/** Byte-pair encoding, of bytes or of characters with SentencePiece's conventions. */
export class BpeSegmenter implements Segmenter {
  constructor(private readonly merges: BpeMerges) {}

  *segment(preToken: string): Generator<readonly [], readonly number[]> {
    const whole = this.merges.whole(preToken);
    if (whole !== undefined) return [whole];
    const run = new BpeRun(this.merges, preToken);
    while (!run.advance(STEPS)) yield [];
    return run.ids();
  }
}
