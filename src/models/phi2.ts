import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Phi-1, Phi-1.5 and Phi-2: LayerNorm, GELU, biases everywhere, blocks side by side under one norm. */
export function phi2(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer", "halves");
  const blocks = new Blocks(reader, config, "layer");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.plain(n, "gelu", false),
    parallel: true,
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
