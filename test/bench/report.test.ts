import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chart } from "../../bench/compare/chart.mjs";
import { markdown } from "../../bench/compare/markdown.mjs";
import { saveResults } from "../../bench/compare/results.mjs";
import { at } from "../../src/base/assert.ts";
import { comparison } from "./comparison.ts";

describe("tables", () => {
  const text = markdown(comparison());

  test("a row for every case, with ratios and fractions", () => {
    expect(text).toContain(
      "| tinyllama-1.1b Q4_0 | 2 | 2048 | 150 (100–220) | 70.0 (40.0–100) | **2.30** | failed | – | 300 (40 %) | 140 (19 %) |\n",
    );
    expect(text).toContain(
      "| llama-2-7b 3bit-g128 | 1 | 0 | 8.25 (8.00–8.50) | – | – | – | – | 4.13 | – |\n",
    );
  });

  test("limits, settings, failures, the command", () => {
    expect(text).toContain("| tinyllama-1.1b Q4_0 | 2 | 2048 | 30.0 | 40.0 | 750 | 1000 |\n");
    expect(text).toContain("| llama-bench | tinyllama-1.1b Q4_0 | 2 | 2048 | -fa 0 | -fa 1 |\n");
    expect(text).toContain(
      "| node-llama-cpp | tinyllama-1.1b Q4_0 | 2 | 2048 | exit code 1: out of memory swap |\n",
    );
    expect(text).toContain("npm run bench:compare -- --quick");
  });

  test("every table has as many cells in every row", () => {
    for (const table of text.split("\n\n").filter((block) => block.startsWith("|"))) {
      const widths = table
        .trim()
        .split("\n")
        .map((line) => line.split("|").length);
      expect(new Set(widths).size).toBe(1);
    }
  });

  test("says that results are partial, and has no empty sections", () => {
    expect(text).not.toContain("partial");
    const partial = { ...comparison(), finished: null, cases: [at(comparison().cases, 1)] };
    expect(markdown(partial)).toContain("Interrupted");
    expect(markdown(partial)).not.toContain("## Failures");
    expect(markdown(partial)).not.toContain("## Settings");
    expect(markdown({ ...partial, cases: [] })).toContain("of 0 rounds");
  });
});

/** Elements of a document that has only what `chart` writes; fails where tags do not match. */
function elements(svg: string): { name: string; attributes: Record<string, string>; text: string }[] {
  const open: string[] = [];
  const found: ReturnType<typeof elements> = [];
  for (const [, close, name = "", list = "", empty, text = ""] of svg.matchAll(
    /<(\/?)([a-z]+)((?: [\w:-]+="[^"<]*")*)(\/?)>([^<]*)/g,
  )) {
    if (close === "/") expect(open.pop()).toBe(name);
    else {
      if (empty !== "/") open.push(name);
      const attributes = Object.fromEntries(
        [...list.matchAll(/ ([\w:-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
      );
      found.push({ name, attributes, text });
    }
  }
  expect(open).toEqual([]);
  return found;
}

describe("the chart", () => {
  const svg = chart(comparison());
  const all = elements(svg);
  const texts = all.filter(({ name }) => name === "text").map(({ text }) => text);
  const bars = (style: string) =>
    all.filter(({ name, attributes }) => name === "rect" && attributes.class === style).slice(1);

  test("is well formed, with nothing undefined and all of the text escaped", () => {
    expect(svg).not.toMatch(/undefined|NaN|Infinity/);
    expect(svg).toContain("Some CPU &lt;A&amp;B&gt;");
    const width = Number(all[0]?.attributes.width);
    for (const { name, attributes } of all) {
      if (name !== "rect") continue;
      expect(Number(attributes.x) + Number(attributes.width)).toBeLessThanOrEqual(width);
      expect(Number(attributes.width)).toBeGreaterThan(0);
    }
  });

  test("bars are as long as the ratios of the medians", () => {
    const [ours, first] = [bars("ours"), bars("first")].map((list) =>
      list.map(({ attributes }) => Number(attributes.width)),
    );
    // One case with a peer, two tests; the one without has no bar.
    expect(ours).toHaveLength(2);
    expect(first).toHaveLength(2);
    expect(at(ours ?? [], 0) / at(first ?? [], 0)).toBeCloseTo(150 / 70, 2);
    expect(at(ours ?? [], 1) / at(first ?? [], 1)).toBeCloseTo(46.5 / 30, 2);
  });

  test("labels have the speed, the ratio and the fraction", () => {
    expect(texts).toContain("150 · 40 % of int8 peak");
    expect(texts).toContain("70.0 · qigen 2.30×");
    expect(texts).toContain("node-llama-cpp failed");
    expect(texts).toContain("2 threads, 2,048 tokens before");
    expect(texts).toContain("Speed relative to llama-bench, same file, taking turns");
  });

  test("without a peer bars are tokens a second, without results there are none", () => {
    const results = comparison();
    const alone = elements(chart({ ...results, engines: ["qigen"] }));
    expect(alone.filter(({ attributes }) => attributes.class === "ours").length).toBe(1 + 4);
    expect(alone.map(({ text }) => text)).toContain("Speed");
    expect(elements(chart({ ...results, cases: [] })).some(({ name }) => name === "line")).toBe(true);
  });
});

test("saving leaves three whole files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "qigen-compare-"));
  try {
    await saveResults(join(folder, "out"), { ...comparison(), finished: null });
    expect((await readdir(join(folder, "out"))).sort()).toEqual([
      "results.json",
      "results.md",
      "results.svg",
    ]);
    const saved = JSON.parse(await readFile(join(folder, "out", "results.json"), "utf8"));
    expect(saved).toMatchObject({ finished: null, engines: ["qigen", "llama-bench", "node-llama-cpp"] });
    expect(saved.summaries[0].tests.prefill["llama-bench"].ratio).toBeCloseTo(2.3, 9);
  } finally {
    await rm(folder, { recursive: true });
  }
});
