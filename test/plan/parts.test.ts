import { describe, expect, test } from "vitest";
import { attentionBlock, stepParts } from "../../src/plan/parts.ts";

describe("heads of an item of attention in decode", () => {
  test.each([
    [32, 32, 1, 16],
    [32, 32, 2, 4],
    [32, 32, 8, 1],
    [32, 8, 1, 16],
    [32, 8, 2, 4],
    [32, 4, 2, 8],
    [32, 4, 8, 4],
    [12, 12, 2, 1],
    [9, 3, 1, 9],
    [71, 1, 1, 71],
  ])("%i heads, %i kv heads, %i threads: %i", (heads, kvHeads, threads, expected) => {
    expect(attentionBlock({ heads, kvHeads }, 1, threads)).toEqual({ rows: 1, heads: expected });
  });

  test("heads of several kv heads only where every part has an item", () => {
    for (const kvHeads of [1, 2, 3, 4, 6, 8, 12, 32, 40])
      for (const perKv of [1, 2, 4, 7])
        for (const threads of [1, 2, 3, 4, 8, 16]) {
          const heads = kvHeads * perKv;
          const block = attentionBlock({ heads, kvHeads }, 1, threads);
          expect(heads % block.heads).toBe(0);
          if (block.heads > perKv) expect(heads / block.heads).toBeGreaterThanOrEqual(stepParts(threads));
          else expect(perKv % block.heads).toBe(0);
        }
  });
});

test("rows of prefill come in multiples of 4, with the heads of one kv head", () => {
  expect(attentionBlock({ heads: 32, kvHeads: 32 }, 64, 2)).toEqual({ rows: 16, heads: 1 });
  expect(attentionBlock({ heads: 32, kvHeads: 8 }, 2, 2)).toEqual({ rows: 4, heads: 4 });
  expect(attentionBlock({ heads: 32, kvHeads: 4 }, 2, 2)).toEqual({ rows: 4, heads: 8 });
});
