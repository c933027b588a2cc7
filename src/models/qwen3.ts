import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Qwen3: a Llama that rotates halves, with RMSNorm over every head of queries and keys. */
export function qwen3(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "halves");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: { ...blocks.attention(n), ...blocks.headNorms(n) },
    feedForward: blocks.gated(n, "silu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
