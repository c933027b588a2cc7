import { digits, durationText } from "../plan/text.ts";

/** How fast something goes on since it was first looked at, and when it will be done. */
export class Pace {
  private start: { readonly at: number; readonly done: number } | undefined;

  /** ", 12.3/s, 45 s left"; nothing while that is unknown. */
  text(done: number, total: number): string {
    this.start ??= { at: performance.now(), done };
    const seconds = (performance.now() - this.start.at) / 1000;
    const rate = (done - this.start.done) / seconds;
    if (!(rate > 0 && Number.isFinite(rate))) return "";
    return `, ${digits(rate)}/s, ${durationText((total - done) / rate)} left`;
  }
}
