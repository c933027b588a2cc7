import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** GPT-NeoX and Pythia: LayerNorm, GELU, biases, a part of each head rotates; blocks side by side, each with its norm. */
export function gptneox(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer", "halves");
  const blocks = new Blocks(reader, config, "layer");
  const parallel = reader.metadata.bool(reader.key("use_parallel_residual"));
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.plain(n, "gelu"),
    parallel,
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
