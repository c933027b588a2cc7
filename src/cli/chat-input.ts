import { createInterface, type Interface } from "node:readline";
import { AbortedError } from "../base/errors.ts";
import type { Io } from "./io.ts";

const PROMPT = "> ";

/**
 * The user's turns, line by line: with editing and history on a terminal, else as they come. Between turns the
 * terminal is as usual, so that Ctrl-C reaches the process while an answer is written.
 */
export class ChatInput {
  readonly interactive: boolean;
  private readonly lines: string[] = [];
  private readonly reader: Interface;
  private ended = false;
  private waiting: (() => void) | undefined;

  constructor(private readonly io: Io) {
    this.interactive = io.stdin.isTTY === true;
    this.reader = createInterface(
      this.interactive
        ? { input: io.stdin, output: io.stderr, terminal: true, prompt: PROMPT }
        : { input: io.stdin, terminal: false },
    );
    const end = () => {
      this.ended = true;
      this.waiting?.();
    };
    this.reader.on("line", (line) => {
      this.lines.push(line);
      this.waiting?.();
    });
    this.reader.on("close", end);
    this.reader.on("SIGINT", () => io.interrupts.fire());
    io.interrupts.signal.addEventListener("abort", end, { once: true });
    this.suspend();
  }

  /** The next line; undefined when there are no more. Throws `AbortedError` when the user interrupts. */
  async next(): Promise<string | undefined> {
    if (this.lines.length === 0 && !this.ended) {
      this.resume();
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
      this.waiting = undefined;
      this.suspend();
    }
    const { interrupts, stderr } = this.io;
    const line = this.lines.shift();
    if (line === undefined && this.interactive) stderr.write("\n");
    if (interrupts.signal.aborted) throw new AbortedError();
    return line;
  }

  close(): void {
    this.reader.close();
  }

  private resume(): void {
    if (!this.interactive) return;
    this.raw(true);
    this.reader.resume();
    this.reader.prompt();
  }

  private suspend(): void {
    if (!this.interactive || this.ended) return;
    this.reader.pause();
    this.raw(false);
  }

  private raw(on: boolean): void {
    const { stdin } = this.io;
    if ("setRawMode" in stdin && typeof stdin.setRawMode === "function") stdin.setRawMode(on);
  }
}
