import type { Activation } from "../kernels/gate.ts";
import type { NormKind } from "../kernels/norm.ts";
import { readActivation, statedWindow } from "./config.ts";
import type {
  Attention,
  Embedding,
  FeedForward,
  Layer,
  Linear,
  ModelConfig,
  Norm,
  OutputHead,
} from "./model.ts";
import { type ModelReader, splitRows } from "./reader.ts";

/**
 * The blocks that architectures are made of, read by the tensor names that they share. Each is a value; an architecture
 * replaces or adds what is its own.
 */
export class Blocks {
  constructor(
    readonly reader: ModelReader,
    readonly config: ModelConfig,
    private readonly normKind: NormKind,
  ) {}

  /** A norm of the residual stream. */
  norm(name: string): Norm {
    const { hiddenSize, normEpsilon } = this.config;
    return this.reader.norm(name, this.normKind, hiddenSize, normEpsilon);
  }

  embedding(): Embedding {
    const { vocabularySize, hiddenSize } = this.config;
    return { table: this.reader.table("token_embd", vocabularySize, hiddenSize) };
  }

  /** The layers in order. */
  layers(read: (layer: number) => Layer): Layer[] {
    return Array.from({ length: this.config.layers }, (_, n) => read(n));
  }

  /** Pre-norm attention, with the queries, keys and values of a layer in one tensor or in three. */
  attention(layer: number): Attention {
    const { hiddenSize, heads, headDim, rope } = this.config;
    const name = (part: string) => `blk.${layer}.${part}`;
    const inputNorm = this.norm(name("attn_norm"));
    const [q, k, v] = this.queriesKeysValues(layer);
    return {
      inputNorm,
      q,
      k,
      v,
      o: this.reader.linear(name("attn_output"), hiddenSize, heads * headDim),
      scale: 1 / Math.sqrt(headDim),
      ...statedWindow(this.reader, layer),
      ...(rope === undefined ? {} : { rope }),
    };
  }

  private queriesKeysValues(layer: number): [Linear, Linear, Linear] {
    const { hiddenSize, heads, kvHeads, headDim } = this.config;
    const rows = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
    const fused = `blk.${layer}.attn_qkv`;
    if (this.reader.tensors.has(`${fused}.weight`)) {
      const all = rows.reduce((sum, count) => sum + count, 0);
      return splitRows(this.reader.linear(fused, all, hiddenSize), rows) as [Linear, Linear, Linear];
    }
    const parts = ["attn_q", "attn_k", "attn_v"].map((part, i) =>
      this.reader.linear(`blk.${layer}.${part}`, rows[i] as number, hiddenSize),
    );
    return parts as [Linear, Linear, Linear];
  }

  /** Norms of the heads of queries and keys. */
  headNorms(layer: number): Pick<Attention, "qNorm" | "kNorm"> {
    const { headDim, normEpsilon } = this.config;
    const norm = (part: string) =>
      this.reader.norm(`blk.${layer}.${part}`, this.normKind, headDim, normEpsilon);
    return { qNorm: norm("attn_q_norm"), kNorm: norm("attn_k_norm") };
  }

  /** The same with weights for each head, where the model has them. */
  ownHeadNorms(layer: number): Pick<Attention, "qNorm" | "kNorm"> {
    const { heads, kvHeads, headDim, normEpsilon: epsilon } = this.config;
    const norm = (part: string, heads: number): Norm => {
      const weight = this.reader.vector(`blk.${layer}.${part}.weight`, heads * headDim, [headDim, heads]);
      return { kind: this.normKind, weight, epsilon };
    };
    if (!this.reader.tensors.has(`blk.${layer}.attn_q_norm.weight`)) return {};
    return { qNorm: norm("attn_q_norm", heads), kNorm: norm("attn_k_norm", kvHeads) };
  }

  /** down(activation(gate) · up), with a norm of its own before it or without. */
  gated(layer: number, activation: Activation, hasNorm = true): FeedForward {
    const { hiddenSize, intermediateSize } = this.config;
    const name = (part: string) => `blk.${layer}.${part}`;
    return {
      ...(hasNorm ? { inputNorm: this.norm(name("ffn_norm")) } : {}),
      activation: readActivation(this.reader, activation),
      gate: this.reader.linear(name("ffn_gate"), intermediateSize, hiddenSize),
      up: this.reader.linear(name("ffn_up"), intermediateSize, hiddenSize),
      down: this.down(layer),
    };
  }

  /** Like `gated`, with the rows of the gate before those of `up` in one tensor. */
  gatedFused(layer: number, activation: Activation): FeedForward {
    const { hiddenSize, intermediateSize: size } = this.config;
    const inputNorm = this.norm(`blk.${layer}.ffn_norm`);
    const both = this.reader.linear(`blk.${layer}.ffn_up`, 2 * size, hiddenSize);
    const [gate, up] = splitRows(both, [size, size]) as [Linear, Linear];
    const own = readActivation(this.reader, activation);
    return { inputNorm, activation: own, gate, up, down: this.down(layer) };
  }

  /** down(activation(up)), likewise. */
  plain(layer: number, activation: Activation, hasNorm = true): FeedForward {
    const { hiddenSize, intermediateSize } = this.config;
    const name = (part: string) => `blk.${layer}.${part}`;
    return {
      ...(hasNorm ? { inputNorm: this.norm(name("ffn_norm")) } : {}),
      activation: readActivation(this.reader, activation),
      up: this.reader.linear(name("ffn_up"), intermediateSize, hiddenSize),
      down: this.down(layer),
    };
  }

  private down(layer: number): Linear {
    const { hiddenSize, intermediateSize } = this.config;
    return this.reader.linear(`blk.${layer}.ffn_down`, hiddenSize, intermediateSize);
  }

  /** The last norm, and a head of its own or the embedding's table. */
  output(embedding: Embedding): OutputHead {
    const { vocabularySize, hiddenSize } = this.config;
    const norm = this.norm("output_norm");
    const hasOwn = this.reader.tensors.has("output.weight");
    return {
      norm,
      head: hasOwn ? this.reader.linear("output", vocabularySize, hiddenSize) : embedding.table,
    };
  }
}
