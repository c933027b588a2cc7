import { Blocks } from "./blocks.ts";
import { readConfig, windowedLayers } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import { MAX_DIMENSION, type ModelReader } from "./reader.ts";

/**
 * Llama 1, 2, 3 and what shares their structure (SmolLM, Mistral with its sliding window): pre-norm RMSNorm, rotary
 * embedding in interleaved pairs (the converter permutes q and k for it), grouped-query attention, SwiGLU.
 */
export function llama(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "interleaved");
  const blocks = new Blocks(reader, config, "rms");
  const window = reader.sizeUnlessZero("attention.sliding_window", undefined);
  const isLocal = windowedLayers(reader, MAX_DIMENSION);
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: { ...blocks.attention(n), ...(window !== undefined && isLocal(n) ? { window } : {}) },
    feedForward: blocks.gated(n, "silu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
