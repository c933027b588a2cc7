import type { ExpertCounts } from "../models/model.ts";

/** Matrices of a stack that a step reads, and tokens that each of them meets; whole numbers. */
export interface ExpertLoad {
  readonly matrices: number;
  readonly tokens: number;
}

/**
 * What a step of so many tokens is expected to do where every expert is as likely as any other: one is missed by all
 * tokens with probability (1 − used/count)^tokens. A matrix of no mixture is one that all tokens meet.
 */
export function expertLoad(experts: ExpertCounts | undefined, tokens: number): ExpertLoad {
  if (experts === undefined) return { matrices: 1, tokens };
  const { count, used } = experts;
  const matrices = Math.round(count * (1 - (1 - used / count) ** tokens));
  return { matrices, tokens: Math.max(1, Math.round((used * tokens) / matrices)) };
}
