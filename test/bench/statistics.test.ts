import { expect, test } from "vitest";
import { median, rankCorrelation } from "../../bench/statistics.mjs";

test("median", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test("rank correlation is that of the order, whatever the values", () => {
  expect(rankCorrelation([1, 2, 3], [10, 1000, 1e9])).toBeCloseTo(1, 12);
  expect(rankCorrelation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12);
  // Σd² = 2 of n = 4: 1 − 6 · 2 / (4 · 15).
  expect(rankCorrelation([1, 2, 3, 4], [2, 1, 3, 4])).toBeCloseTo(0.8, 12);
});

test("equal values share their mean rank", () => {
  // Ranks 0.5 0.5 2 and 0 1 2.
  expect(rankCorrelation([5, 5, 7], [1, 2, 3])).toBeCloseTo(Math.sqrt(3) / 2, 12);
});
