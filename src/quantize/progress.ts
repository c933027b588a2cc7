import type { QuantizeOptions, QuantizeProgress } from "./options.ts";

/** Tells how much is done, and how long the rest will take. */
export class ProgressMeter {
  private readonly start = performance.now();
  private stage: QuantizeProgress["stage"] = "quantizing";
  private stageStart = this.start;

  constructor(private readonly report: QuantizeOptions["onProgress"]) {}

  begin(stage: QuantizeProgress["stage"]): void {
    this.stage = stage;
    this.stageStart = performance.now();
  }

  /** @param done of the stage, 0 to 1 */
  at(done: number): void {
    const seconds = (performance.now() - this.stageStart) / 1000;
    const secondsLeft = done > 0 ? (seconds * (1 - done)) / done : Number.NaN;
    this.report?.({ stage: this.stage, done, secondsLeft });
  }

  get seconds(): number {
    return (performance.now() - this.start) / 1000;
  }
}
