import { Blocks } from "./blocks.ts";
import { windowedLayers } from "./config.ts";
import { gatedExperts, readExpertConfig } from "./experts.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/**
 * gpt-oss: experts with biases and a clamped SwiGLU, whose weights add up to 1; attention with biases and a sink for every
 * head, of which every second layer sees a window only, with a base of its own for the rotation where the file has one.
 */
export function gptOss(reader: ModelReader): ModelSpec {
  const config = readExpertConfig(reader, "halves");
  const blocks = new Blocks(reader, config, "rms");
  const window = reader.size("attention.sliding_window");
  const isLocal = windowedLayers(reader, 2);
  const { rope } = config;
  // Scaled like the other.
  const localBase = reader.positiveOr("rope.freq_base_swa", undefined);
  const localRope =
    rope === undefined || localBase === undefined ? {} : { rope: { ...rope, base: localBase } };
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => ({
    attention: {
      ...blocks.attention(n),
      sinks: reader.vector(`blk.${n}.attn_sinks.weight`, config.heads),
      ...(isLocal(n) ? { window, ...localRope } : {}),
    },
    feedForward: gatedExperts(blocks, n, config.experts, {
      activation: "clampedSilu",
      softmaxOver: "chosen",
      norm: "post_attention_norm",
    }),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}
