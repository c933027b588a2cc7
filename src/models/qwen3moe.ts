import { Blocks } from "./blocks.ts";
import { gatedExperts, readExpertConfig } from "./experts.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Qwen3-MoE: Qwen3 with experts, whose weights add up to 1. */
export function qwen3moe(reader: ModelReader): ModelSpec {
  const config = readExpertConfig(reader, "halves");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: { ...blocks.attention(n), ...blocks.headNorms(n) },
    feedForward: gatedExperts(blocks, n, config.experts, { activation: "silu", softmaxOver: "chosen" }),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
