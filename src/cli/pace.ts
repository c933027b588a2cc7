import { digits } from "../plan/text.ts";

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

/** "45 s", "3 min 20 s", "2 h 5 min". */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [h, min, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h} h ${min} min`;
  return min > 0 ? `${min} min ${s} s` : `${s} s`;
}
