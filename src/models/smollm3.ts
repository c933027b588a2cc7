import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { ModelSpec } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Every so many layers one does not rotate. */
const NO_ROPE_STEP = 4;

/** SmolLM3: a Llama of which every fourth layer knows no positions. */
export function smollm3(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "interleaved");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = blocks.embedding();
  const layers = blocks.layers((n) => {
    const { rope, ...attention } = blocks.attention(n);
    const rotates = rope !== undefined && (n + 1) % NO_ROPE_STEP !== 0;
    return {
      attention: rotates ? { ...attention, rope } : attention,
      feedForward: blocks.gated(n, "silu"),
    };
  });
  return { config, embedding, layers, output: blocks.output(embedding) };
}
