import { Blocks } from "./blocks.ts";
import { readMixtureConfig, windowedLayers } from "./config.ts";
import { gatedExperts } from "./experts.ts";
import type { ModelSpec } from "./model.ts";
import { MAX_DIMENSION, type ModelReader } from "./reader.ts";

/**
 * Llama 1, 2, 3 and what shares their structure (SmolLM, Mistral with its sliding window): pre-norm RMSNorm, rotary
 * embedding in interleaved pairs (the converter permutes q and k for it), grouped-query attention, SwiGLU. Mixtral: the
 * same with experts, whose weights add up to 1.
 */
export function llama(reader: ModelReader): ModelSpec {
  const config = readMixtureConfig(reader, "rms", "interleaved");
  const { experts } = config;
  const blocks = new Blocks(reader, config, "rms");
  const window = reader.sizeUnlessZero("attention.sliding_window", undefined);
  const isLocal = windowedLayers(reader, MAX_DIMENSION);
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: { ...blocks.attention(n), ...(window !== undefined && isLocal(n) ? { window } : {}) },
    feedForward:
      experts === undefined
        ? blocks.gated(n, "silu")
        : gatedExperts(blocks, n, experts, { activation: "silu", softmaxOver: "chosen" }),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
