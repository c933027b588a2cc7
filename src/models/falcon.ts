import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { Layer, ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Falcon: LayerNorm, GELU, few key-value heads, blocks side by side under one norm, or (40B) under one each. */
export function falcon(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer", "halves");
  const blocks = new Blocks(reader, config, "layer");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n): Layer => {
    const attention = blocks.attention(n);
    const feedForward = blocks.plain(n, "gelu", false);
    const own = `blk.${n}.attn_norm_2`;
    if (!reader.tensors.has(`${own}.weight`)) return { attention, feedForward, parallel: true };
    // The second norm is that of attention.
    const { inputNorm, ...rest } = attention;
    return {
      attention: { ...rest, inputNorm: blocks.norm(own) },
      feedForward: { ...feedForward, ...(inputNorm === undefined ? {} : { inputNorm }) },
      parallel: true,
    };
  });
  return { config, embedding, layers, output: blocks.output(embedding) };
}
