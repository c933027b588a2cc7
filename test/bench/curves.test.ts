import { describe, expect, test } from "vitest";
import { chart } from "../../bench/curves/chart.mjs";
import { markdown } from "../../bench/curves/markdown.mjs";
import { type Curves, figuresOf, type Measured, type Row } from "../../bench/curves/summary.mjs";
import { type Choices, inOrder, type Setting, settingKey, settingsOf } from "../../bench/curves/sweeps.mjs";
import { at } from "../../src/base/assert.ts";
import { probe } from "./comparison.ts";

const SHAPES = ["tinyllama-1.1b", "llama-2-7b"];
const CHOICES: Choices = {
  sweeps: ["size", "batch", "context", "threads"],
  shape: "tinyllama-1.1b",
  format: "Q4_0",
  threads: [1, 2],
  depths: [0, 4096],
  batches: [1, 512],
  shapes: SHAPES,
  formats: ["4bit-g128", "2bit-g128"],
  promptTokens: 256,
  genTokens: 32,
  repeat: 3,
};

/** A model of 0.5 GB; limits of two threads are 40 GB/s and 1,000 GOPS. */
function measured(more: Partial<Measured> = {}): Measured {
  return {
    probe: probe(),
    tokensPerSecond: { prefill: [200, 100, 220], decode: [50, 60, 40] },
    operationsPerToken: 2e9,
    bytesPerToken: { weights: 5e8, kvCache: 1e8 },
    rowsPerStep: 256,
    loadSeconds: 1,
    memory: { weights: 5e8, kvCache: 1e7, work: 1e7, peak: 6e8 },
    ...more,
  };
}

describe("settings", () => {
  const settings = settingsOf(CHOICES);

  test("one thing at a time", () => {
    expect(settings).toHaveLength(2 + 2 + 2 + 4);
    const [usual] = settings as [Setting];
    expect(usual).toEqual({
      sweep: "context",
      shape: "tinyllama-1.1b",
      format: "Q4_0",
      threads: 2,
      depth: 0,
      promptTokens: 256,
      genTokens: 32,
      repeat: 3,
    });
    expect(settings.filter(({ sweep }) => sweep === "threads").map(({ threads }) => threads)).toEqual([1, 2]);
    expect(settingsOf({ ...CHOICES, sweeps: ["batch"] }).map((s) => s.promptTokens)).toEqual([1, 512]);
    expect(new Set(settings.map(settingKey)).size).toBe(settings.length);
  });

  test("their order does not depend on when they were timed", () => {
    expect(inOrder(settings.toReversed(), SHAPES)).toEqual(settings);
  });
});

describe("figures", () => {
  const usual = at(settingsOf(CHOICES), 0);
  const rows: Row[] = [{ ...usual, found: measured() }];

  test("of the nearer limit", () => {
    expect(figuresOf(rows, usual, measured(), "prefill")).toEqual({
      tokensPerSecond: { median: 200, min: 100, max: 220 },
      gbs: expect.closeTo((200 * 0.5) / 256, 9),
      gops: expect.closeTo(400, 9),
      limit: "int8",
      ofLimit: expect.closeTo(0.4, 9),
    });
    expect(figuresOf(rows, usual, measured(), "decode")).toMatchObject({ limit: "reads", ofLimit: 0.75 });
  });

  test("of limits that no single probe decides", () => {
    const probed = (speed: number): Row => ({ ...usual, found: measured({ probe: probe(speed) }) });
    const alone: Row = { ...usual, threads: 1, found: measured({ probe: probe(9) }) };
    const all = [probed(1), probed(0.1), probed(1), alone];
    expect(figuresOf(all, usual, measured(), "decode").ofLimit).toBeCloseTo(0.75, 9);
  });

  test("few tokens read all weights", () => {
    const slow = measured({ tokensPerSecond: { prefill: [60], decode: [60] } });
    expect(figuresOf(rows, { ...usual, promptTokens: 1 }, slow, "prefill")).toMatchObject({
      gbs: expect.closeTo(30, 9),
      limit: "reads",
    });
    // Two steps.
    expect(figuresOf(rows, { ...usual, promptTokens: 300 }, slow, "prefill").gbs).toBeCloseTo(
      (60 * 2 * 0.5) / 300,
      9,
    );
  });
});

describe("reports", () => {
  const rows: Row[] = settingsOf(CHOICES).map((setting) =>
    setting.shape === "llama-2-7b" && setting.format === "4bit-g128"
      ? { ...setting, error: "needs 4.9 GB of memory, 2.1 GB are free" }
      : { ...setting, found: measured() },
  );
  const curves: Curves = {
    started: "2026-11-22T16:00:00.000Z",
    finished: "2026-11-22T17:00:00.000Z",
    command: "npm run bench:curves -- --repeat 3",
    machine: "Some CPU <A&B>",
    versions: { qigen: "0.1.0" },
    rows,
  };

  test("a table for every sweep", () => {
    const text = markdown(curves);
    expect(text).toContain(
      "| 4096 | 200 (100–220) | 400 GOPS, 40 % | 50.0 (40.0–60.0) | 30.0 GB/s, 75 % | 0.6 GB |\n",
    );
    expect(text).toContain("| llama-2-7b | 4bit-g128 | needs 4.9 GB of memory, 2.1 GB are free |");
    expect(text.match(/^## /gm)).toHaveLength(4);
    for (const table of text.split("\n\n").filter((block) => block.startsWith("|"))) {
      const widths = table
        .split("\n")
        .filter((line) => line.startsWith("|"))
        .map((line) => line.split("|").length);
      expect(new Set(widths).size).toBe(1);
    }
  });

  test("limits are those of all sweeps", () => {
    const slow = rows.map((row) =>
      row.found && row.sweep !== "batch" ? { ...row, found: measured({ probe: probe(0.5) }) } : row,
    );
    const [, row] = markdown({ ...curves, rows: slow }).match(/\| (512 .*) \|/) ?? [];
    expect(row).toBe("512 | 200 (100–220) | 400 GOPS, 80 % | 0.6 GB");
  });

  test("a column of the chart for every sweep that was timed", () => {
    const picture = chart(curves);
    expect(picture).toContain("Some CPU &lt;A&amp;B&gt;");
    expect(picture).not.toMatch(/NaN|Infinity|undefined/);
    // Two tests, one, two, and two formats; each above and below.
    expect(picture.match(/<polyline/g)).toHaveLength(2 * (2 + 1 + 2 + 2));
    const part = chart({ ...curves, rows: rows.filter(({ sweep }) => sweep === "batch") });
    expect(part.match(/<polyline/g)).toHaveLength(2);
    expect(chart({ ...curves, rows: [] })).toContain("</svg>");
  });
});
