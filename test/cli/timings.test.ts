import { describe, expect, test } from "vitest";
import type { GenerationResult } from "../../src/api/generation.ts";
import { timingLines, timingsOf } from "../../src/cli/timings.ts";

const RESULT: GenerationResult = {
  stopReason: "max-tokens",
  promptTokens: 12,
  reusedTokens: 0,
  generatedTokens: 101,
  prefillSeconds: 0.5,
  decodeSeconds: 2,
  seed: 7,
};

describe("rates", () => {
  test("the logits of the first token are prefill's", () => {
    expect(timingsOf(RESULT)).toMatchObject({ prefillTokensPerSecond: 24, decodeTokensPerSecond: 50 });
  });

  test("a model that ends the text was asked once more", () => {
    expect(timingsOf({ ...RESULT, stopReason: "end" }).decodeTokensPerSecond).toBe(50.5);
  });

  test("tokens from the cache cost nothing", () => {
    expect(timingsOf({ ...RESULT, reusedTokens: 10 }).prefillTokensPerSecond).toBe(4);
  });

  test("no rate where nothing ran", () => {
    const timings = timingsOf({ ...RESULT, generatedTokens: 1, decodeSeconds: 0 });
    expect(timings).not.toHaveProperty("decodeTokensPerSecond");
  });
});

test("the lines are aligned", () => {
  expect(timingLines(RESULT)).toBe(
    "prompt   12 tokens  500 ms  24.0 tokens/s\n" +
      "text    101 tokens  2.00 s  50.0 tokens/s\n" +
      "end     --max-tokens reached; seed 7\n",
  );
  expect(timingLines({ ...RESULT, reusedTokens: 10 })).toContain("10 more from the cache");
});
