import type { Activation } from "../kernels/gate.ts";
import type { NormKind } from "../kernels/norm.ts";
import type { RopePairing } from "../kernels/rope.ts";

/** A vector of a file: a tensor, or `length` values of it from `first` on. */
export interface Vector {
  readonly tensor: string;
  readonly length: number;
  readonly first?: number;
  /** Makes it a stack: the tensor has so many such vectors, one behind the other. */
  readonly count?: number;
}

/** A weight matrix, `rows` outputs and `cols` inputs: a tensor, or consecutive rows of one from `firstRow` on. */
export interface Linear {
  readonly tensor: string;
  readonly rows: number;
  readonly cols: number;
  readonly firstRow?: number;
  /** Makes it a stack: the tensor has such a matrix for every expert, one behind the other. */
  readonly experts?: ExpertCounts;
  /** Added to the outputs. */
  readonly bias?: Vector;
}

/** Norm over a row of the residual stream or, of queries and keys, over each head. */
export interface Norm {
  readonly kind: NormKind;
  /** Of the values of a row; of a head, where all heads share it, else of all heads. */
  readonly weight: Vector;
  readonly bias?: Vector;
  readonly epsilon: number;
}

/** Rotary embedding: which dimensions rotate together and how fast. */
export interface RopeConfig {
  readonly pairing: RopePairing;
  /** Dimensions of a head that rotate. */
  readonly rotated: number;
  /** θ base. */
  readonly base: number;
  readonly scaling: RopeScaling;
  /** rotated/2 factors that divide the frequencies (Llama 3.1 and later). */
  readonly factors?: Vector;
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
      /** The first and the last interpolated dimension are whole numbers. */
      readonly truncate: boolean;
    }
  /** A base that grows with the context beyond the original one ("dynamic NTK"). */
  | { readonly kind: "dynamic"; readonly factor: number; readonly originalContext: number }
  /** LongRoPE (Ding et al. 2024): other factors where the context is longer than the original one. */
  | {
      readonly kind: "longrope";
      readonly originalContext: number;
      readonly attentionFactor: number;
      readonly short: Vector;
      readonly long: Vector;
    };

/** Experts of a layer, and those of them that a token passes. */
export interface ExpertCounts {
  readonly count: number;
  readonly used: number;
}

/** The dimensions of a decoder-only transformer. */
export interface ModelConfig {
  readonly architecture: string;
  readonly name: string;
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Inner width of the feed-forward block, or of an expert. */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Positions the model was trained for. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  /** Of a mixture of experts. */
  readonly experts?: ExpertCounts;
  /** That of most layers; none where positions are learned. */
  readonly rope?: RopeConfig;
}

/** What both blocks of a layer have: where norms stand. Each is left out where the model has none there. */
export interface Block {
  /** Of the residual stream, on its way into the block. */
  readonly inputNorm?: Norm;
  /** Of what the block adds to the residual stream. */
  readonly outputNorm?: Norm;
  /** Of the residual stream itself, after the addition (post-norm transformers). */
  readonly streamNorm?: Norm;
}

/** Causal grouped-query attention. */
export interface Attention extends Block {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  /** Of every head of queries, of keys, before they rotate. */
  readonly qNorm?: Norm;
  readonly kNorm?: Norm;
  readonly rope?: RopeConfig;
  /** A score for every head, of a position that has no value: it takes a part of the weights (Xiao et al. 2023). */
  readonly sinks?: Vector;
  /** Scores are multiplied by this before the softmax. */
  readonly scale: number;
  /** Scores s become softcap · tanh(s / softcap). */
  readonly softcap?: number;
  /** Positions that a token sees, its own included; all before it if not given. */
  readonly window?: number;
}

/** down(activation(gate(x)) · up(x)), or down(activation(up(x))) without a gate. */
export interface FeedForward extends Block {
  readonly activation: Activation;
  readonly gate?: Linear;
  readonly up: Linear;
  readonly down: Linear;
  /** Makes it a mixture of experts: all three matrices are stacks, and a token passes some matrices of them. */
  readonly routing?: Routing;
}

/** The experts that a token passes: those with the highest scores. Their outputs are weighted and added up. */
export interface Routing extends ExpertCounts {
  /** From x to the scores of all experts. */
  readonly router: Linear;
  /** Weights are the softmax over these scores. */
  readonly softmaxOver: "all" | "chosen";
  readonly shared?: SharedExpert;
}

/** An expert that every token passes: sigmoid(amount(x)) · down(activation(gate(x)) · up(x)). */
export interface SharedExpert {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
  /** One output. */
  readonly amount: Linear;
}

export interface Layer {
  readonly attention: Attention;
  readonly feedForward: FeedForward;
  /**
   * Both blocks read the residual stream as it is before the layer, instead of one after the other. A feed-forward block
   * without an input norm then takes what attention takes.
   */
  readonly parallel?: boolean;
}

/** What a token is before the first layer: table[token] · scale, projected, plus positions[position]. */
export interface Embedding {
  readonly table: Linear;
  readonly scale?: number;
  /** From the width of the table to that of the residual stream. */
  readonly projection?: Linear;
  /** A row for every position. */
  readonly positions?: Linear;
}

/** From the residual stream to logits. */
export interface OutputHead {
  /** Where the last layer has a stream norm, that one stands here. */
  readonly norm: Norm;
  /** From the residual stream to the width of the head. */
  readonly projection?: Linear;
  /** The same tensor as the embedding's table when the model ties them. */
  readonly head: Linear;
  /** Logits l become softcap · tanh(l / softcap). */
  readonly softcap?: number;
}

/** A stretch of a model: some of its layers, with what comes before and after all of them or without. */
export interface ModelPart {
  readonly config: ModelConfig;
  readonly embedding?: Embedding;
  readonly layers: readonly Layer[];
  readonly output?: OutputHead;
}

/** A model as tensors of a file and the blocks of a forward pass. */
export interface ModelSpec extends ModelPart {
  readonly embedding: Embedding;
  readonly output: OutputHead;
}

/** What a matrix is in a layer. */
export type LayerMatrix =
  | "q"
  | "k"
  | "v"
  | "o"
  | "router"
  | "gate"
  | "up"
  | "down"
  | "sharedGate"
  | "sharedUp"
  | "sharedDown"
  | "sharedAmount";

/** Matrices that lie one behind the other. */
export function matrixCount({ experts }: Linear): number {
  return experts?.count ?? 1;
}

/** Whether a matrix chooses experts or weights them: small, and not worth rounding. */
export function isRouting(matrix: LayerMatrix): boolean {
  return matrix === "router" || matrix === "sharedAmount";
}

/** The matrices of a layer in the order in which they are used. */
export function layerMatrices({
  attention,
  feedForward,
}: Layer): readonly (readonly [LayerMatrix, Linear])[] {
  const { q, k, v, o } = attention;
  const { gate, up, down, routing } = feedForward;
  const shared = routing?.shared;
  return [
    ["q", q],
    ["k", k],
    ["v", v],
    ["o", o],
    ...(routing === undefined ? [] : [["router", routing.router] as const]),
    ...(gate === undefined ? [] : [["gate", gate] as const]),
    ["up", up],
    ["down", down],
    ...(shared === undefined
      ? []
      : ([
          ["sharedGate", shared.gate],
          ["sharedUp", shared.up],
          ["sharedDown", shared.down],
          ["sharedAmount", shared.amount],
        ] as const)),
  ];
}

/** Name of a matrix or a vector, unique in its model. */
export function nameOf(part: Linear | Vector): string {
  const first = "rows" in part ? part.firstRow : part.first;
  return first === undefined ? part.tensor : `${part.tensor}[${first}]`;
}

/** Every distinct weight matrix. */
export function linears({ embedding, layers, output }: ModelPart): Linear[] {
  const all = [
    embedding?.table,
    embedding?.projection,
    embedding?.positions,
    ...layers.flatMap((layer) => layerMatrices(layer).map(([, linear]) => linear)),
    output?.projection,
    output?.head,
  ].filter((linear) => linear !== undefined);
  return [...new Map(all.map((linear) => [nameOf(linear), linear])).values()];
}

/** Every norm, in the order in which they are used. */
export function norms({ layers, output }: ModelPart): Norm[] {
  const ofBlock = (block: Block) => [block.inputNorm, block.outputNorm, block.streamNorm];
  const all = layers.flatMap(({ attention, feedForward }) => [
    ...ofBlock(attention),
    attention.qNorm,
    attention.kNorm,
    ...ofBlock(feedForward),
  ]);
  return [...all, output?.norm].filter((norm) => norm !== undefined);
}

/** All norm weights, sinks and biases. */
export function vectors(spec: ModelPart): Vector[] {
  const ofNorms = norms(spec).flatMap(({ weight, bias }) => [weight, bias]);
  const sinks = spec.layers.map(({ attention }) => attention.sinks);
  return [...ofNorms, ...sinks, ...linears(spec).map(({ bias }) => bias)].filter(
    (vector) => vector !== undefined,
  );
}

/** The distinct rotations of a model. */
export function ropes({ layers }: ModelPart): RopeConfig[] {
  const all = layers.map(({ attention }) => attention.rope).filter((rope) => rope !== undefined);
  return [...new Set(all)];
}
