import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/**
 * Phi-3, Phi-3.5 and Phi-4: a Llama that rotates halves, with queries, keys and values in one tensor, gate and up in
 * another, and LongRoPE. Like llama.cpp it sees all positions: which layers have a window, files do not say.
 */
export function phi3(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "halves");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.gatedFused(n, "silu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
