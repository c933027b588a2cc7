import type { GenerationResult } from "../api/generation.ts";
import { digits, secondsText } from "../plan/text.ts";
import { columns, formatCount } from "./format.ts";

/** How long a generation took, per token. */
export interface Timings {
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  /** Absent where nothing was run. */
  readonly prefillTokensPerSecond?: number;
  readonly decodeTokensPerSecond?: number;
}

/**
 * Rates from counts: prefill ran the prompt but for what the cache had; decode ran every token but the last, which
 * prefill or the step before had the logits for, unless the model then chose to end the text.
 */
export function timingsOf(result: GenerationResult): Timings {
  const { prefillSeconds, decodeSeconds, promptTokens, reusedTokens, generatedTokens, stopReason } = result;
  const prefilled = promptTokens - reusedTokens;
  const steps = stopReason === "end" ? generatedTokens : generatedTokens - 1;
  return {
    prefillSeconds,
    decodeSeconds,
    ...(prefilled > 0 ? { prefillTokensPerSecond: prefilled / prefillSeconds } : {}),
    ...(steps > 0 ? { decodeTokensPerSecond: steps / decodeSeconds } : {}),
  };
}

const STOPPED = {
  end: "the model ended the text",
  "max-tokens": "--max-tokens reached",
  stop: "stop text found",
  context: "the context is full",
} as const satisfies Record<GenerationResult["stopReason"], string>;

/** Lines for the end of a run. */
export function timingLines(result: GenerationResult): string {
  const { promptTokens, reusedTokens, generatedTokens, prefillSeconds, decodeSeconds } = result;
  const { prefillTokensPerSecond: prefill, decodeTokensPerSecond: decode } = timingsOf(result);
  const rate = (value: number | undefined) => (value === undefined ? "" : `${digits(value)} tokens/s`);
  const cached = reusedTokens > 0 ? `${formatCount(reusedTokens)} more from the cache` : "";
  const rows = [
    [
      "prompt",
      `${formatCount(promptTokens - reusedTokens)} tokens`,
      secondsText(prefillSeconds),
      rate(prefill),
      cached,
    ],
    ["text", `${formatCount(generatedTokens)} tokens`, secondsText(decodeSeconds), rate(decode), ""],
  ];
  return `${columns(rows, [1, 2, 3])}end     ${STOPPED[result.stopReason]}; seed ${result.seed}\n`;
}
