import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** StarCoder2: LayerNorm, GELU, biases everywhere, rotary embedding. */
export function starcoder2(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer", "halves");
  const blocks = new Blocks(reader, config, "layer");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.plain(n, "gelu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
