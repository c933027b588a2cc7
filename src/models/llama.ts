import { UnsupportedError } from "../base/errors.ts";
import type { GgufMetadata } from "../files/gguf-metadata.ts";
import type { ModelFile } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import type { RopePairing } from "../kernels/rope.ts";
import type { Layer, Linear, ModelConfig, ModelSpec, RopeScaling } from "./model.ts";

/** Largest value of any dimension that is believed: keeps every product of two of them below 2^53. */
const MAX_DIMENSION = 2 ** 24;
const MAX_LAYERS = 4096;

/**
 * Llama 1, 2, 3: pre-norm RMSNorm, rotary embedding, grouped-query attention, SwiGLU, tied or own output head.
 */
export function llama(file: ModelFile): ModelSpec {
  const config = llamaConfig(file);
  const { hiddenSize, intermediateSize, vocabularySize, heads, kvHeads, headDim } = config;
  const tensors = new TensorNames(file);
  const embedding = tensors.linear("token_embd.weight", vocabularySize, hiddenSize);
  const layers = Array.from({ length: config.layers }, (_, n): Layer => {
    const name = (part: string) => `blk.${n}.${part}.weight`;
    return {
      attentionNorm: tensors.vector(name("attn_norm"), hiddenSize),
      q: tensors.linear(name("attn_q"), heads * headDim, hiddenSize),
      k: tensors.linear(name("attn_k"), kvHeads * headDim, hiddenSize),
      v: tensors.linear(name("attn_v"), kvHeads * headDim, hiddenSize),
      o: tensors.linear(name("attn_output"), hiddenSize, heads * headDim),
      feedForwardNorm: tensors.vector(name("ffn_norm"), hiddenSize),
      gate: tensors.linear(name("ffn_gate"), intermediateSize, hiddenSize),
      up: tensors.linear(name("ffn_up"), intermediateSize, hiddenSize),
      down: tensors.linear(name("ffn_down"), hiddenSize, intermediateSize),
    };
  });
  const spec: ModelSpec = {
    config,
    embedding,
    layers,
    outputNorm: tensors.vector("output_norm.weight", hiddenSize),
    output: file.tensors.has("output.weight")
      ? tensors.linear("output.weight", vocabularySize, hiddenSize)
      : embedding,
  };
  if (config.rope.factors !== undefined) tensors.vector(config.rope.factors, config.rope.rotated / 2);
  tensors.rejectUnused();
  return spec;
}

function llamaConfig({ metadata, tensors }: ModelFile): ModelConfig {
  const key = (name: string) => `llama.${name}`;
  const size = (name: string) => metadata.integer(key(name), 1, MAX_DIMENSION);
  if (metadata.u32Or(key("expert_count"), 0) > 0) {
    throw new UnsupportedError(
      `${metadata.file}: mixture-of-experts Llama (llama.expert_count > 0) is not supported yet`,
    );
  }
  const hiddenSize = size("embedding_length");
  const heads = size("attention.head_count");
  const kvHeads = metadata.integerOr(key("attention.head_count_kv"), 1, heads, heads);
  if (heads % kvHeads !== 0) {
    throw metadata.error(key("attention.head_count_kv"), `${kvHeads} does not divide ${heads} heads`);
  }
  const headDim = metadata.integerOr(
    key("attention.key_length"),
    1,
    MAX_DIMENSION,
    Math.floor(hiddenSize / heads),
  );
  if (headDim < 1)
    throw metadata.error(key("attention.head_count"), `${heads} heads for ${hiddenSize} dimensions`);
  const valueDim = metadata.integerOr(key("attention.value_length"), 1, MAX_DIMENSION, headDim);
  if (valueDim !== headDim) {
    throw new UnsupportedError(
      `${metadata.file}: heads with ${headDim} key and ${valueDim} value dimensions (llama.attention.key_length, ` +
        "value_length) are not supported",
    );
  }
  const rotated = metadata.integerOr(key("rope.dimension_count"), 2, headDim, headDim);
  if (rotated % 2 !== 0) throw metadata.error(key("rope.dimension_count"), `${rotated} is odd`);
  const contextLength = size("context_length");
  return {
    architecture: "llama",
    name: metadata.stringOr("general.name", "llama"),
    vocabularySize: vocabularySize(metadata, tensors),
    hiddenSize,
    intermediateSize: size("feed_forward_length"),
    layers: metadata.integer(key("block_count"), 1, MAX_LAYERS),
    heads,
    kvHeads,
    headDim,
    contextLength,
    normEpsilon: positive(metadata, key("attention.layer_norm_rms_epsilon")),
    rope: {
      pairing: ropePairing(metadata),
      rotated,
      base: metadata.has(key("rope.freq_base")) ? positive(metadata, key("rope.freq_base")) : 10000,
      scaling: ropeScaling(metadata, contextLength),
      ...(tensors.has("rope_freqs.weight") ? { factors: "rope_freqs.weight" } : {}),
    },
  };
}

function positive(metadata: GgufMetadata, key: string): number {
  const value = metadata.f32(key);
  if (!(value > 0)) throw metadata.error(key, `${value} is not positive`);
  return value;
}

function vocabularySize(metadata: GgufMetadata, tensors: ModelFile["tensors"]): number {
  const rows = tensors.get("token_embd.weight")?.shape[1];
  return metadata.integerOr("llama.vocab_size", 1, MAX_DIMENSION, rows ?? 1);
}

/** GGUF's Llama rotates interleaved pairs; models that were not converted say that theirs are others. */
function ropePairing(metadata: GgufMetadata): RopePairing {
  const key = "llama.rope.pairing";
  const pairing = metadata.stringOr(key, "interleaved");
  if (pairing === "interleaved" || pairing === "halves") return pairing;
  throw metadata.error(key, `is ${quoted(pairing)}, neither interleaved nor halves`);
}

function ropeScaling(metadata: GgufMetadata, contextLength: number): RopeScaling {
  const key = (name: string) => `llama.rope.scaling.${name}`;
  const legacy = metadata.f32Or("llama.rope.scale_linear", 1);
  const kind = metadata.stringOr(key("type"), legacy === 1 ? "none" : "linear");
  const factor = metadata.f32Or(key("factor"), legacy);
  if (!(factor > 0)) throw metadata.error(key("factor"), `${factor} is not positive`);
  if (kind === "none" || factor === 1) return { kind: "none" };
  if (kind === "linear") return { kind: "linear", factor };
  if (kind !== "yarn")
    throw new UnsupportedError(
      `${metadata.file}: ${key("type")} ${quoted(kind)} is not supported; known: none, linear, yarn`,
    );
  return {
    kind: "yarn",
    factor,
    originalContext: metadata.integerOr(key("original_context_length"), 1, MAX_DIMENSION, contextLength),
    betaFast: metadata.f32Or(key("yarn_beta_fast"), 32),
    betaSlow: metadata.f32Or(key("yarn_beta_slow"), 1),
    attentionFactor: metadata.f32Or(key("attn_factor"), 1),
  };
}

/** Looks tensors up by name and shape, and knows which ones nobody asked for. */
class TensorNames {
  private readonly unused: Set<string>;

  constructor(private readonly file: ModelFile) {
    this.unused = new Set(file.tensors.keys());
  }

  linear(name: string, rows: number, cols: number): Linear {
    this.expect(name, [cols, rows]);
    return { tensor: name, rows, cols };
  }

  vector(name: string, length: number): string {
    this.expect(name, [length]);
    return name;
  }

  private expect(name: string, shape: readonly number[]): void {
    const tensor = this.file.tensors.get(name);
    if (tensor === undefined) throw this.file.metadata.error(`tensor ${name}`, "is missing");
    const found = tensor.shape.join(" × ");
    if (found !== shape.join(" × ")) {
      throw this.file.metadata.error(`tensor ${name}`, `has shape ${found}, not ${shape.join(" × ")}`);
    }
    this.unused.delete(name);
  }

  /** A tensor that the forward pass would ignore means a model that is not quite a Llama: better no text than wrong text. */
  rejectUnused(): void {
    const [first] = this.unused;
    if (first === undefined) return;
    throw new UnsupportedError(
      `${this.file.metadata.file}: ${this.unused.size} tensors have no place in a Llama, the first is ` +
        `${quoted(first)}; is this another architecture?`,
    );
  }
}
