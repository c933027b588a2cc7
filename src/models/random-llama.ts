import type { GgmlType } from "../files/gguf-types.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import type { ExpertCounts } from "./model.ts";
import { type ModelDimensions, type RandomModel, type RandomWeights, randomModel } from "./random-model.ts";

/** The dimensions of a Llama; with experts, of a Mixtral. */
export interface LlamaShape extends Omit<ModelDimensions, "headDim"> {
  readonly experts?: ExpertCounts;
}

/** Shapes of published models, for timing. */
export const LLAMA_SHAPES = {
  "tinyllama-1.1b": {
    layers: 22,
    hiddenSize: 2048,
    intermediateSize: 5632,
    heads: 32,
    kvHeads: 4,
    vocabularySize: 32000,
    contextLength: 2048,
  },
  "llama-2-7b": {
    layers: 32,
    hiddenSize: 4096,
    intermediateSize: 11008,
    heads: 32,
    kvHeads: 32,
    vocabularySize: 32000,
    contextLength: 4096,
  },
  "llama-2-13b": {
    layers: 40,
    hiddenSize: 5120,
    intermediateSize: 13824,
    heads: 40,
    kvHeads: 40,
    vocabularySize: 32000,
    contextLength: 4096,
  },
  "llama-30b": {
    layers: 60,
    hiddenSize: 6656,
    intermediateSize: 17920,
    heads: 52,
    kvHeads: 52,
    vocabularySize: 32000,
    contextLength: 2048,
  },
  "llama-65b": {
    layers: 80,
    hiddenSize: 8192,
    intermediateSize: 22016,
    heads: 64,
    kvHeads: 64,
    vocabularySize: 32000,
    contextLength: 2048,
  },
  "mixtral-8x7b": {
    layers: 32,
    hiddenSize: 4096,
    intermediateSize: 14336,
    heads: 32,
    kvHeads: 8,
    vocabularySize: 32000,
    contextLength: 32768,
    experts: { count: 8, used: 2 },
  },
} as const satisfies Record<string, LlamaShape>;

/** `F` are names of formats that have kernels: for a file, tensor types of GGUF. */
export interface RandomLlama<F extends string = GgmlType> extends LlamaShape, RandomWeights<F> {
  /** Whether the embedding is the output head too. Default: no. */
  readonly tied?: boolean;
  /** θ base of the rotary embedding. Default: 10,000. */
  readonly ropeBase?: number;
  readonly ropeScaling?:
    | { readonly kind: "linear"; readonly factor: number }
    | { readonly kind: "yarn"; readonly factor: number; readonly originalContext: number };
  /** One divisor per pair of a head's dimensions, as Llama 3.1 has them. */
  readonly ropeFactors?: readonly number[];
}

/** A random Llama, see `randomModel`. */
export function randomLlama<F extends string = GgmlType>(options: RandomLlama<F>): RandomModel<F | "F32"> {
  const { tied = false, ropeFactors, experts } = options;
  return randomModel({
    ...options,
    architecture: "llama",
    keys: { ...ropeKeys(options), ...(experts === undefined ? {} : expertKeys(experts)) },
    optional: (tensor) => tensor === "output.weight" && !tied,
    ...(ropeFactors === undefined ? {} : { vectors: { "rope_freqs.weight": ropeFactors } }),
  });
}

function expertKeys({ count, used }: ExpertCounts): Record<string, GgufValue> {
  return { expert_count: { type: "u32", value: count }, expert_used_count: { type: "u32", value: used } };
}

function ropeKeys({ ropeBase, ropeScaling }: RandomLlama<string>): Record<string, GgufValue> {
  const real = (value: number): GgufValue => ({ type: "f32", value });
  const base = ropeBase === undefined ? {} : { "rope.freq_base": real(ropeBase) };
  if (ropeScaling === undefined) return base;
  const { kind, factor } = ropeScaling;
  const scaling = {
    ...base,
    "rope.scaling.type": { type: "string", value: kind },
    "rope.scaling.factor": real(factor),
  } as const;
  if (kind === "linear") return scaling;
  const { originalContext } = ropeScaling;
  return { ...scaling, "rope.scaling.original_context_length": { type: "u32", value: originalContext } };
}
