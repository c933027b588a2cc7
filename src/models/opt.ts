import { assert } from "../base/assert.ts";
import { Blocks } from "./blocks.ts";
import { readConfig } from "./config.ts";
import type { Block, Embedding, Layer, Linear, ModelConfig, ModelSpec, OutputHead } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** Rows of the table of positions before that of position 0. */
const FIRST_POSITION = 2;

/**
 * OPT (Zhang et al. 2022): learned positions, LayerNorm, ReLU, biases everywhere. The 350m model has its norms after the
 * blocks, on the residual stream, and embeddings that are narrower than that. GGUF has no names for it: these are ours.
 */
export function opt(reader: ModelReader): ModelSpec {
  const config = readConfig(reader, "layer");
  const blocks = new Blocks(reader, config, "layer");
  const width = reader.sizeOr("token_embedding_length", config.hiddenSize);
  const embedding = readEmbedding(reader, config, width);
  const layers = blocks.layers((n) => ({
    attention: blocks.attention(n),
    feedForward: blocks.plain(n, "relu"),
  }));
  const head = readHead(reader, config, embedding.table);
  if (reader.metadata.boolOr(reader.key("post_norm"), false)) {
    return { config, embedding, ...normedAfter(layers, head) };
  }
  return { config, embedding, layers, output: { norm: blocks.norm("output_norm"), ...head } };
}

function readEmbedding(reader: ModelReader, config: ModelConfig, width: number): Embedding {
  const { vocabularySize, hiddenSize, contextLength } = config;
  const positions = reader.table("position_embd", FIRST_POSITION + contextLength, hiddenSize);
  return {
    table: reader.table("token_embd", vocabularySize, width),
    ...(width === hiddenSize ? {} : { projection: reader.linear("token_embd_proj", hiddenSize, width) }),
    positions: { ...positions, rows: contextLength, firstRow: FIRST_POSITION },
  };
}

/** The embedding's table or a head of its own, of the same width. */
function readHead(reader: ModelReader, config: ModelConfig, table: Linear): Omit<OutputHead, "norm"> {
  const { vocabularySize, hiddenSize } = config;
  const width = table.cols;
  const hasOwn = reader.tensors.has("output.weight");
  return {
    ...(width === hiddenSize ? {} : { projection: reader.linear("output_proj", width, hiddenSize) }),
    head: hasOwn ? reader.linear("output", vocabularySize, width) : table,
  };
}

/** Layers whose norms stand after their blocks; the last one is that of the output. */
function normedAfter(
  layers: readonly Layer[],
  head: Omit<OutputHead, "norm">,
): Pick<ModelSpec, "layers" | "output"> {
  const moved = layers.map(({ attention, feedForward }) => ({
    attention: after(attention),
    feedForward: after(feedForward),
  }));
  const last = moved.pop();
  const norm = last?.feedForward.streamNorm;
  assert(last !== undefined && norm !== undefined, "a layer without norms");
  const { streamNorm: _, ...feedForward } = last.feedForward;
  return { layers: [...moved, { ...last, feedForward }], output: { norm, ...head } };
}

function after<B extends Block>({ inputNorm, ...block }: B) {
  return { ...block, ...(inputNorm === undefined ? {} : { streamNorm: inputNorm }) };
}
