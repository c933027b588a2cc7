import { z } from "zod";
import type { RunCommand } from "./command.ts";
import type { Evaluation } from "./evaluator.ts";
import type { ReportRow, Speed } from "./report.ts";

/** The tests of speed: tokens, and how often each is run. */
export interface SpeedTests {
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly repeat: number;
}

const test = z.object({
  tokensPerSecond: z.object({ median: z.number(), min: z.number(), max: z.number() }),
});
const bench = z.object({
  prefill: test,
  decode: test,
  memory: z.object({ weights: z.number(), projections: z.number(), peak: z.number() }),
});

/** What is measured of a model. */
export type Measured = Omit<ReportRow, "setting" | "method" | "seconds">;

/** Times a model in a process of its own, whose memory is its alone, and adds how well it predicts. */
export async function measureModel(
  run: RunCommand,
  path: string,
  { perplexity, ratio, divergence, sameTop, tasks, weights, predicted }: Evaluation,
  { promptTokens, genTokens, repeat }: SpeedTests,
): Promise<Measured> {
  const counts = ["--prompt-tokens", promptTokens, "--gen-tokens", genTokens, "--repeat", repeat].map(String);
  const { prefill, decode, memory } = bench.parse(
    await run(["bench", path, ...counts, "--placement", "arena"]),
  );
  return {
    bitsPerWeight: (8 * memory.projections) / weights,
    projectionBytes: memory.projections,
    weightBytes: memory.weights,
    peakBytes: memory.peak,
    perplexity,
    ratio,
    divergence,
    sameTop,
    tasks,
    prefill: speedOf(prefill, predicted.prefill),
    decode: speedOf(decode, predicted.decode),
  };
}

function speedOf({ tokensPerSecond }: z.infer<typeof test>, predicted: number): Speed {
  const { median, min, max } = tokensPerSecond;
  return { measured: median, slowest: min, fastest: max, predicted };
}
