import { Blocks } from "./blocks.ts";
import { gatedExperts, readExpertConfig, sharedExpert } from "./experts.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Qwen1.5-MoE and Qwen2-MoE: Qwen2 with experts, whose weights are not normalized, and one that all tokens pass. */
export function qwen2moe(reader: ModelReader): ModelSpec {
  const config = readExpertConfig(reader, "halves");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => {
    const { routing, ...feedForward } = gatedExperts(blocks, n, config.experts, {
      activation: "silu",
      softmaxOver: "all",
    });
    return {
      attention: blocks.attention(n),
      feedForward: { ...feedForward, routing: { ...routing, shared: sharedExpert(blocks, n) } },
    };
  });
  return { config, embedding, layers, output: blocks.output(embedding) };
}
