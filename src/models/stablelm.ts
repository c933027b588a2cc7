import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/**
 * StableLM: LayerNorm, a part of each head rotates, SwiGLU. The 12B model has norms of queries and keys, weights for
 * each head, and blocks side by side under one norm.
 */
export function stablelm(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer", "halves");
  const blocks = new Blocks(reader, config, "layer");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => {
    const hasNorm = reader.tensors.has(`blk.${n}.ffn_norm.weight`);
    return {
      attention: { ...blocks.attention(n), ...blocks.ownHeadNorms(n) },
      feedForward: blocks.gated(n, "silu", hasNorm),
      parallel: !hasNorm,
    };
  });
  return { config, embedding, layers, output: blocks.output(embedding) };
}
