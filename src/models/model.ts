import type { RopePairing } from "../kernels/rope.ts";

/** Rotary embedding: which dimensions rotate together and how fast. */
export interface RopeConfig {
  readonly pairing: RopePairing;
  /** Dimensions of a head that rotate. */
  readonly rotated: number;
  /** θ base. */
  readonly base: number;
  readonly scaling: RopeScaling;
  /** Name of a tensor of rotated/2 factors that divide the frequencies (Llama 3.1 and later). */
  readonly factors?: string;
}

export type RopeScaling =
  | { readonly kind: "none" }
  /** Positions are divided by `factor` (Chen et al. 2023). */
  | { readonly kind: "linear"; readonly factor: number }
  /** YaRN (Peng et al. 2023): slow dimensions interpolated, fast ones kept. */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor: number;
    };

/** The dimensions of a decoder-only transformer. */
export interface ModelConfig {
  readonly architecture: string;
  readonly name: string;
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Inner width of the feed-forward block. */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Positions the model was trained for. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly rope: RopeConfig;
}

/** A weight matrix: `rows` outputs, `cols` inputs. */
export interface Linear {
  readonly tensor: string;
  readonly rows: number;
  readonly cols: number;
}

/** Tensors of one layer: pre-norm attention and a gated feed-forward block. */
export interface Layer {
  readonly attentionNorm: string;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  readonly feedForwardNorm: string;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

/** A model as tensors of a file and the blocks of a forward pass. */
export interface ModelSpec {
  readonly config: ModelConfig;
  readonly embedding: Linear;
  readonly layers: readonly Layer[];
  readonly outputNorm: string;
  /** The output head; the same tensor as `embedding` when the model ties them. */
  readonly output: Linear;
}

/** Every distinct weight matrix. */
export function linears(spec: ModelSpec): Linear[] {
  const all = [
    spec.embedding,
    ...spec.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]),
    spec.output,
  ];
  return [...new Map(all.map((linear) => [linear.tensor, linear])).values()];
}

/** Names of all norm weights and other vectors. */
export function vectors(spec: ModelSpec): string[] {
  const norms = spec.layers.flatMap((layer) => [layer.attentionNorm, layer.feedForwardNorm]);
  return [...norms, spec.outputNorm];
}
