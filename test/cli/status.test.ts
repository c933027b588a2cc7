import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { progressOn, Status } from "../../src/cli/status.ts";
import { Collected } from "./harness.ts";

const ERASE = "\r\u001b[2K";

class Terminal extends Collected {
  readonly isTTY = true;
  readonly columns = 60;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("on a terminal", () => {
  test("nothing is said about what takes a moment", () => {
    const terminal = new Terminal();
    const status = new Status(terminal, "preparing kernels");
    vi.advanceTimersByTime(500);
    status.done();
    expect(terminal.text).toBe("");
  });

  test("what takes longer is shown, and gone at the end", () => {
    const terminal = new Terminal();
    const status = new Status(terminal, "preparing kernels");
    vi.advanceTimersByTime(2050);
    expect(terminal.text.split(ERASE).at(-1)).toBe("preparing kernels … 2 s");
    status.done();
    status.done();
    expect(terminal.text.endsWith(`2 s${ERASE}`)).toBe(true);
    vi.advanceTimersByTime(5000);
    expect(terminal.text.endsWith(`2 s${ERASE}`)).toBe(true);
  });

  test("lines that stay go above the status line", () => {
    const terminal = new Terminal();
    const status = new Status(terminal, "preparing kernels");
    vi.advanceTimersByTime(1000);
    status.note("running on wasm");
    expect(terminal.text.endsWith(`${ERASE}running on wasm\n`)).toBe(true);
    status.done();
  });

  test("progress has a bar, a size and a rate, within the width", () => {
    const terminal = new Terminal();
    const status = new Status(terminal, "preparing kernels");
    const progress = progressOn(status);
    progress({ stage: "weights", done: 0, total: 2 ** 30 });
    vi.advanceTimersByTime(1000);
    progress({ stage: "weights", done: 2 ** 29, total: 2 ** 30 });
    vi.advanceTimersByTime(100);
    status.done();
    const shown = terminal.text.split(ERASE).at(-2) ?? "";
    expect(shown).toMatch(/^loading weights █{12}░{12} {2}50 % of 1\.00 GiB/);
    expect([...shown].length).toBeLessThan(60);
  });
});

test("without a terminal only the lines that stay are written", () => {
  const output = new Collected();
  const status = new Status(output, "preparing kernels");
  vi.advanceTimersByTime(5000);
  status.note("running on wasm");
  status.done();
  expect(output.text).toBe("running on wasm\n");
});

test("quiet is quiet", () => {
  const terminal = new Terminal();
  const status = new Status(terminal, "preparing kernels", true);
  vi.advanceTimersByTime(5000);
  status.note("running on wasm");
  status.done();
  expect(terminal.text).toBe("");
});
