/** Random Llama checkpoints in Hugging Face's form, with the weights that they stand for. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { at } from "../../src/base/assert.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import type { FileFolder } from "../../src/files/folder.ts";
import { memorySource } from "../../src/files/source.ts";
import { CHAR_OF_BYTE } from "../../src/text/byte-alphabet.ts";
import { safetensors, type TensorData } from "../files/safetensors-fixtures.ts";
import { type Quantized, type ScaleType, scaleTensor, weightsOf } from "./packers.ts";
import type { LlamaSizes, LlamaWeights } from "./reference-llama.ts";

export const SIZES: LlamaSizes = {
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  epsilon: 1e-5,
  ropeBase: 10000,
};
export const HIDDEN = 128;
export const INNER = 192;
export const VOCABULARY = 300;

export const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: HIDDEN,
  intermediate_size: INNER,
  num_hidden_layers: SIZES.layers,
  num_attention_heads: SIZES.heads,
  num_key_value_heads: SIZES.kvHeads,
  max_position_embeddings: 128,
  rms_norm_eps: SIZES.epsilon,
  rope_theta: SIZES.ropeBase,
  hidden_act: "silu",
  tie_word_embeddings: false,
  vocab_size: VOCABULARY,
} as const;

/** A checkpoint: its files, and the weights that they stand for. */
export interface Checkpoint {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly weights: LlamaWeights;
}

/** How one linear module is stored, and the weights that are then meant. */
export type Pack = (
  module: string,
  outputs: number,
  inputs: number,
  rng: Rng,
) => { readonly tensors: Record<string, TensorData>; readonly weights: number[][] };

/** Random weights, rounded to a type of floats. */
export function floats(dtype: ScaleType): Pack {
  const round = {
    F32: Math.fround,
    F16: (value: number) => f16ToF32(f32ToF16(value)),
    BF16: (value: number) => bf16ToF32(f32ToBf16(value)),
  }[dtype];
  return (module, outputs, inputs, rng) => {
    const weights = Array.from({ length: outputs }, () =>
      Array.from({ length: inputs }, () => round(rng.normal() / Math.sqrt(inputs))),
    );
    const tensor = scaleTensor([outputs, inputs], weights.flat(), dtype);
    return { tensors: { [`${module}.weight`]: tensor }, weights };
  };
}

/** Matrices of random codes, stored by `pack`. */
export function codes(
  quantize: (outputs: number, inputs: number, rng: Rng) => Quantized,
  pack: (module: string, quantized: Quantized) => Record<string, TensorData>,
): Pack {
  return (module, outputs, inputs, rng) => {
    const quantized = quantize(outputs, inputs, rng);
    return { tensors: pack(module, quantized), weights: weightsOf(quantized) };
  };
}

/** Linear modules of a layer: outputs and inputs. */
export const LINEARS: Readonly<Record<string, readonly [number, number]>> = {
  "self_attn.q_proj": [SIZES.heads * SIZES.headDim, HIDDEN],
  "self_attn.k_proj": [SIZES.kvHeads * SIZES.headDim, HIDDEN],
  "self_attn.v_proj": [SIZES.kvHeads * SIZES.headDim, HIDDEN],
  "self_attn.o_proj": [HIDDEN, SIZES.heads * SIZES.headDim],
  "mlp.gate_proj": [INNER, HIDDEN],
  "mlp.up_proj": [INNER, HIDDEN],
  "mlp.down_proj": [HIDDEN, INNER],
};

/**
 * A random checkpoint whose layers are stored by `pack`.
 *
 * @param more keys of config.json, and other tensors
 */
export function randomCheckpoint(
  pack: Pack,
  more: {
    readonly config?: object;
    readonly tensors?: Record<string, TensorData>;
    readonly layers?: number;
  } = {},
): Checkpoint {
  const { layers = SIZES.layers } = more;
  const rng = new Rng(11);
  const tensors: Record<string, TensorData> = {};
  const matrices = new Map<string, number[][]>();
  const norms = new Map<string, number[]>();
  const linear = (module: string, outputs: number, inputs: number, by: Pack) => {
    const made = by(module, outputs, inputs, rng);
    Object.assign(tensors, made.tensors);
    matrices.set(module, made.weights);
  };
  const norm = (module: string, size = 1) => {
    const values = Array.from({ length: HIDDEN }, () => Math.fround(size * (1 + rng.normal() / 10)));
    tensors[`${module}.weight`] = scaleTensor([HIDDEN], values, "F32");
    norms.set(module, values);
  };
  linear("model.embed_tokens", VOCABULARY, HIDDEN, floats("F16"));
  for (let n = 0; n < layers; n++) {
    norm(`model.layers.${n}.input_layernorm`);
    for (const [part, [outputs, inputs]] of Object.entries(LINEARS)) {
      linear(`model.layers.${n}.${part}`, outputs, inputs, pack);
    }
    norm(`model.layers.${n}.post_attention_layernorm`);
  }
  // Logits of a standard deviation of about 2.5.
  norm("model.norm", 2.5);
  linear("lm_head", VOCABULARY, HIDDEN, floats("F16"));
  return {
    files: {
      "config.json": json({ ...CONFIG, num_hidden_layers: layers, ...more.config }),
      "model.safetensors": safetensors({ ...tensors, ...more.tensors }),
      "tokenizer.json": json(byteTokenizer()),
    },
    weights: { matrices, norms },
  };
}

export function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** A token for every byte, and a start and an end token. */
export function byteTokenizer(): object {
  const vocab = Object.fromEntries(CHAR_OF_BYTE.map((char, byte) => [char, byte]));
  const special = (id: number, content: string) => ({ id, content, special: true });
  return {
    added_tokens: [special(256, "<s>"), special(257, "</s>")],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab, merges: [] },
  };
}

/** The checkpoint as a folder in memory. */
export function memoryFolder({ files }: Pick<Checkpoint, "files">, name = "folder"): FileFolder {
  return {
    name,
    files: Object.keys(files),
    open: async (file) => memorySource(`${name}/${file}`, files[file] as Uint8Array),
  };
}

export async function saveCheckpoint(path: string, { files }: Pick<Checkpoint, "files">): Promise<string> {
  await mkdir(path, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes);
  return path;
}

/** Mean and largest KL divergence (nats) between the distributions of each position. */
export function divergence(truth: readonly ArrayLike<number>[], found: readonly ArrayLike<number>[]): number {
  const kls = truth.map((logits, t) => {
    const [p, q] = [logProbabilities(logits), logProbabilities(at(found, t))];
    return p.reduce((sum, log, i) => sum + Math.exp(log) * (log - at(q, i)), 0);
  });
  return kls.reduce((sum, kl) => sum + kl, 0) / kls.length;
}

function logProbabilities(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const total = Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0)) + most;
  return values.map((value) => value - total);
}
