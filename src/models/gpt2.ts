import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** GPT-2: learned positions, LayerNorm, GELU, biases everywhere. */
export function gpt2(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer");
  const blocks = new Blocks(reader, config, "layer");
  const positions = reader.table("position_embd", config.contextLength, config.hiddenSize);
  const embedding = { ...blocks.embedding(), positions };
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.plain(n, "gelu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
