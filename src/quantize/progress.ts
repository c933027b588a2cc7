import type { QuantizeOptions } from "./options.ts";

/** Tells how much is done, and how long the rest will take. */
export class ProgressMeter {
  private readonly start = performance.now();

  constructor(private readonly report: QuantizeOptions["onProgress"]) {}

  /** @param done 0 to 1 */
  at(done: number): void {
    const seconds = (performance.now() - this.start) / 1000;
    this.report?.({ done, secondsLeft: done > 0 ? (seconds * (1 - done)) / done : Number.NaN });
  }

  get seconds(): number {
    return (performance.now() - this.start) / 1000;
  }
}
