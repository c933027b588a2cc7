/** Random OPT checkpoints in Hugging Face's form, with the weights that they stand for. */

import { Rng } from "../../src/base/rng.ts";
import { safetensors, type TensorData } from "../files/safetensors-fixtures.ts";
import { scaleTensor } from "./packers.ts";
import { byteTokenizer, floats, json, type Pack } from "./random-checkpoint.ts";
import type { OptShape, OptWeights } from "./reference-opt.ts";

export interface RandomOpt {
  readonly isPreNorm: boolean;
  /** Width of the embeddings. Default: that of the residual stream. */
  readonly width?: number;
  readonly activation?: OptShape["activation"];
  readonly hasBias?: boolean;
  readonly hasNormWeights?: boolean;
  readonly tied?: boolean;
  /** How matrices of layers are stored. Default: F32. */
  readonly pack?: Pack;
  /** More of config.json. */
  readonly config?: object;
  /** What names start with. */
  readonly prefix?: string;
}

export interface OptCheckpoint {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly shape: OptShape;
  readonly weights: OptWeights;
}

const [LAYERS, HEADS, HIDDEN, INNER, VOCABULARY, CONTEXT] = [2, 4, 128, 192, 300, 128];

export function randomOpt(options: RandomOpt): OptCheckpoint {
  const { isPreNorm, width = HIDDEN, activation = "relu", tied = true, prefix = "model.decoder." } = options;
  const { hasBias = true, hasNormWeights = true, pack = floats("F32") } = options;
  const rng = new Rng(5);
  const tensors: Record<string, TensorData> = {};
  const matrices = new Map<string, number[][]>();
  const vectors = new Map<string, number[]>();
  const matrix = (name: string, rows: number, cols: number, gain = 1, by = floats("F32")) => {
    const made = by(name, rows, cols, rng);
    const isScaled = gain !== 1;
    const weights = isScaled
      ? made.weights.map((row) => row.map((w) => Math.fround(w * gain)))
      : made.weights;
    const scaled = { [`${name}.weight`]: scaleTensor([rows, cols], weights.flat(), "F32") };
    for (const [key, tensor] of Object.entries(isScaled ? scaled : made.tensors))
      tensors[`${prefix}${key}`] = tensor;
    matrices.set(`${name}.weight`, weights);
  };
  const vector = (name: string, length: number, mean: number, std: number) => {
    const values = Array.from({ length }, () => Math.fround(mean + std * rng.normal()));
    tensors[`${prefix}${name}`] = scaleTensor([length], values, "F32");
    vectors.set(name, values);
  };
  const linear = (name: string, rows: number, cols: number) => {
    matrix(name, rows, cols, 1, pack);
    if (hasBias) vector(`${name}.bias`, rows, 0, 0.3);
  };
  const norm = (name: string) => {
    if (!hasNormWeights) return;
    vector(`${name}.weight`, HIDDEN, 1, 0.1);
    vector(`${name}.bias`, HIDDEN, 0, 0.1);
  };
  // Logits of a standard deviation of about 2.5: rows of unit length, times that.
  matrix("embed_tokens", VOCABULARY, width, 2.5);
  matrix("embed_positions", CONTEXT + 2, HIDDEN, 2.5);
  if (width !== HIDDEN) {
    matrix("project_in", HIDDEN, width);
    matrix("project_out", width, HIDDEN);
  }
  for (let n = 0; n < LAYERS; n++) {
    for (const part of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      linear(`layers.${n}.self_attn.${part}`, HIDDEN, HIDDEN);
    }
    norm(`layers.${n}.self_attn_layer_norm`);
    linear(`layers.${n}.fc1`, INNER, HIDDEN);
    linear(`layers.${n}.fc2`, HIDDEN, INNER);
    norm(`layers.${n}.final_layer_norm`);
  }
  if (isPreNorm) norm("final_layer_norm");
  const head = floats("F32")("lm_head", VOCABULARY, width, rng);
  if (!tied) {
    const weights = head.weights.map((row) => row.map((w) => Math.fround(2.5 * w)));
    tensors["lm_head.weight"] = scaleTensor([VOCABULARY, width], weights.flat(), "F32");
    matrices.set("lm_head.weight", weights);
  }
  const config = {
    architectures: ["OPTForCausalLM"],
    model_type: "opt",
    activation_function: activation,
    do_layer_norm_before: isPreNorm,
    enable_bias: hasBias,
    ffn_dim: INNER,
    hidden_size: HIDDEN,
    layer_norm_elementwise_affine: hasNormWeights,
    max_position_embeddings: CONTEXT,
    num_attention_heads: HEADS,
    num_hidden_layers: LAYERS,
    vocab_size: VOCABULARY,
    word_embed_proj_dim: width,
    _remove_final_layer_norm: false,
    ...(tied ? {} : { tie_word_embeddings: false }),
    ...options.config,
  };
  return {
    files: {
      "config.json": json(config),
      "model.safetensors": safetensors(tensors),
      "tokenizer.json": json(byteTokenizer()),
    },
    shape: { layers: LAYERS, heads: HEADS, isPreNorm, activation },
    weights: { matrices, vectors },
  };
}
