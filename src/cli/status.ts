import type { Progress } from "../engine/load-model.ts";
import { bytesText } from "../plan/text.ts";
import { printable } from "./format.ts";
import type { Output } from "./io.ts";

/** Things that take less than this go unmentioned. */
const PATIENCE_MS = 700;
const REPAINT_MS = 100;
const BAR = 24;

/**
 * The last line of a terminal, rewritten while something takes its time; lines that stay go above it. Where stderr is
 * no terminal only those lines are written.
 */
export class Status {
  private readonly started = performance.now();
  private timer: NodeJS.Timeout | undefined;
  private text: () => string;
  private painted = false;

  constructor(
    private readonly output: Output,
    what: string,
    private readonly quiet = false,
  ) {
    this.text = () => `${what} … ${Math.floor((performance.now() - this.started) / 1000)} s`;
    if (output.isTTY !== true || quiet) return;
    this.timer = setInterval(() => this.paint(), REPAINT_MS);
    this.timer.unref();
  }

  /** Says what is going on now. */
  show(text: () => string): void {
    this.text = text;
  }

  /** A line that stays. */
  note(line: string): void {
    if (this.quiet) return;
    this.erase();
    this.output.write(`${line}\n`);
  }

  /** Ends it: the terminal is as if it had never been. */
  done(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.erase();
  }

  private paint(): void {
    if (performance.now() - this.started < PATIENCE_MS) return;
    this.painted = true;
    this.output.write(`\r\u001b[2K${this.line()}`);
  }

  /** Cut to the width of the terminal, which would start another line otherwise. */
  private line(): string {
    return [...printable(this.text())].slice(0, (this.output.columns || 80) - 1).join("");
  }

  private erase(): void {
    if (this.painted) this.output.write("\r\u001b[2K");
    this.painted = false;
  }
}

/** Shows the progress of loading a model on a status line. */
export function progressOn(status: Status): (progress: Progress) => void {
  let start: { readonly at: number; readonly done: number } | undefined;
  return ({ done, total }) => {
    start ??= { at: performance.now(), done };
    const seconds = (performance.now() - start.at) / 1000;
    const rate = seconds > 0 ? (done - start.done) / seconds : 0;
    status.show(() => `loading weights ${bar(done / total)} of ${bytesText(total)}, ${bytesText(rate)}/s`);
  };
}

/** "█████░░░░░  48 %". */
export function bar(part: number): string {
  const share = Math.min(1, Math.max(0, Number.isFinite(part) ? part : 1));
  const full = Math.round(share * BAR);
  return `${"█".repeat(full)}${"░".repeat(BAR - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}
