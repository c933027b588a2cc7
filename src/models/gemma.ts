import { Blocks } from "./blocks.ts";
import { readConfig, windowedLayers } from "./config.ts";
import type { Attention, Embedding, FeedForward, ModelConfig, ModelSpec, RopeConfig } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Gemma 1: a Llama with GELU and a scaled embedding. Norm weights have their 1 added by the converter. */
export function gemma(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "halves");
  const blocks = new Blocks(reader, config, "rms");
  const embedding = scaledEmbedding(blocks);
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.gated(n, "gelu"),
  }));
  return { config, embedding, layers, output: blocks.output(embedding) };
}

/** Layers of Gemma 2's 27B model, whose scores are scaled by the width per head and not by the size of the heads. */
const GEMMA2_WIDE = 46;

/** Gemma 2: norms around the blocks, soft caps on scores and logits, a window on every second layer. */
export function gemma2(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "halves");
  const blocks = new Blocks(reader, config, "rms");
  const window = reader.sizeOr("attention.sliding_window", 4096);
  const isLocal = windowedLayers(reader, 2);
  const softcap = reader.positiveOr("attn_logit_softcapping", 50);
  const embedding = scaledEmbedding(blocks);
  const layers = blocks.layers((n) => ({
    attention: {
      ...normedAttention(blocks, n),
      scale: scoreScale(reader, config, GEMMA2_WIDE),
      softcap,
      ...(isLocal(n) ? { window } : {}),
    },
    feedForward: normedFeedForward(blocks, n),
  }));
  const output = { ...blocks.output(embedding), softcap: reader.positiveOr("final_logit_softcapping", 30) };
  return { config, embedding, layers, output };
}

/** Layers of Gemma 3's 27B model, see `GEMMA2_WIDE`. */
const GEMMA3_WIDE = 62;

/**
 * Gemma 3: like Gemma 2 with norms of queries and keys instead of the caps; five of six layers see a window, with a
 * rotation of their own.
 */
export function gemma3(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "rms", "halves");
  const blocks = new Blocks(reader, config, "rms");
  const window = reader.sizeUnlessZero("attention.sliding_window", undefined);
  const isLocal = windowedLayers(reader, 6);
  const local = window === undefined ? {} : { window, ...localRope(reader, config.rope) };
  const embedding = scaledEmbedding(blocks);
  const layers = blocks.layers((n) => ({
    attention: {
      ...normedAttention(blocks, n),
      ...blocks.headNorms(n),
      scale: scoreScale(reader, config, GEMMA3_WIDE),
      ...(isLocal(n) ? local : {}),
    },
    feedForward: normedFeedForward(blocks, n),
  }));
  const softcap = reader.positiveOr("final_logit_softcapping", undefined);
  const output = { ...blocks.output(embedding), ...(softcap === undefined ? {} : { softcap }) };
  return { config, embedding, layers, output };
}

function scaledEmbedding(blocks: Blocks): Embedding {
  return { ...blocks.embedding(), scale: Math.sqrt(blocks.config.hiddenSize) };
}

function normedAttention(blocks: Blocks, layer: number): Attention {
  return { ...blocks.attention(layer), outputNorm: blocks.norm(`blk.${layer}.post_attention_norm`) };
}

function normedFeedForward(blocks: Blocks, layer: number): FeedForward {
  return { ...blocks.gated(layer, "gelu"), outputNorm: blocks.norm(`blk.${layer}.post_ffw_norm`) };
}

/** What a file says; GGUF files do not, and then the size of the model tells. */
function scoreScale(reader: ModelReader, config: ModelConfig, wide: number): number {
  const { layers, hiddenSize, heads, headDim } = config;
  const usual = 1 / Math.sqrt(layers === wide ? Math.floor(hiddenSize / heads) : headDim);
  return reader.positiveOr("attention.scale", usual);
}

/** The rotation of layers with a window: another base, nothing scaled. */
function localRope(reader: ModelReader, rope: RopeConfig | undefined): { readonly rope?: RopeConfig } {
  if (rope === undefined) return {};
  const base = reader.positiveOr("rope.freq_base_swa", 10000);
  return { rope: { pairing: rope.pairing, rotated: rope.rotated, base, scaling: { kind: "none" } } };
}
