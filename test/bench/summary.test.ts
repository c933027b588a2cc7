import { describe, expect, test } from "vitest";
import { bestSettings, limitsOf, summarise } from "../../bench/compare/summary.mjs";
import { digits, median, pairedRatio, spread } from "../../bench/statistics.mjs";
import { at } from "../../src/base/assert.ts";
import { comparison, probe, run } from "./comparison.ts";

describe("statistics", () => {
  test("median and spread", () => {
    expect(median([3])).toBe(3);
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(spread([2, 9, 4])).toEqual({ median: 4, min: 2, max: 9 });
    expect(() => median([])).toThrow(RangeError);
  });

  test("ratios are of pairs, so that a slow round changes nothing", () => {
    expect(pairedRatio([200, 20, 100], [100, 10, 50])).toBe(2);
    expect(pairedRatio([200, undefined, 90], [100, 5, 30])).toBe(2.5);
    expect(pairedRatio([undefined], [3])).toBeUndefined();
  });

  test("three digits", () => {
    expect([0.01234, 1.234, 12.34, 123.4, 1234, 0].map(digits)).toEqual([
      "0.0123",
      "1.23",
      "12.3",
      "123",
      "1234",
      "0",
    ]);
  });
});

describe("a summary", () => {
  const { cases, engines } = comparison();
  const [full, alone] = cases.map((found) => summarise(found, engines));

  test("the peer's settings are the fastest of the first round, for each test", () => {
    expect(bestSettings(at(cases, 0).rounds, "llama-bench")).toEqual({ prefill: "-fa 0", decode: "-fa 1" });
    expect(bestSettings(at(cases, 0).rounds, "node-llama-cpp")).toEqual({});
    // A first round that failed decides nothing.
    const failed = { runs: [run("a", [], [], { settings: "x", error: "no" })] };
    const later = { runs: [run("a", [1], [2], { settings: "y" })] };
    expect(bestSettings([failed, later], "a")).toEqual({ prefill: "y", decode: "y" });
  });

  test("limits are the best variant of each probe, with these threads or fewer", () => {
    expect(limitsOf(at(cases, 0).rounds, 2)).toEqual({
      readGBs: { median: 30, best: 40 },
      int8Gops: { median: 750, best: 1000 },
    });
    expect(limitsOf([{ probe: probe(), runs: [] }], 1).readGBs).toEqual({ median: 20, best: 20 });
    expect(limitsOf([{ runs: [] }], 1)).toEqual({});
  });

  test("rates over all repetitions, ratios over the rounds, amounts of what was chosen", () => {
    expect(full?.tests.prefill).toEqual({
      qigen: {
        settings: "",
        tokensPerSecond: { median: 150, min: 100, max: 220 },
        ratio: 1,
        amount: 300,
        ofLimit: 300 / 750,
      },
      "llama-bench": {
        settings: "-fa 0",
        tokensPerSecond: { median: 70, min: 40, max: 100 },
        ratio: (2.1 + 2.5) / 2,
        amount: 140,
        ofLimit: 140 / 750,
      },
      "node-llama-cpp": { settings: "", error: "exit code 1: out of\nmemory | swap" },
    });
    expect(full?.tests.decode["llama-bench"]).toMatchObject({ settings: "-fa 1", amount: 15, ofLimit: 0.5 });
  });

  test("without peers and without a probe", () => {
    expect(alone?.limits).toEqual({});
    expect(alone?.tests.decode).toEqual({
      qigen: { settings: "", tokensPerSecond: { median: 8.25, min: 8, max: 8.5 }, ratio: 1, amount: 4.125 },
      "llama-bench": { settings: "" },
      "node-llama-cpp": { settings: "" },
    });
  });
});
