import { UnsupportedError } from "../../base/errors.ts";
import type { GgufMetadata } from "../../files/gguf-metadata.ts";
import type { ModelSpec } from "../../models/model.ts";

/**
 * The `config.json` of a Llama that was read from a GGUF file. Throws `UnsupportedError` for rotations that such files have
 * no words for.
 */
export function llamaConfig(
  { config, layers, output, embedding }: ModelSpec,
  metadata: GgufMetadata,
  dtype: string,
): Readonly<Record<string, unknown>> {
  const { rope } = config;
  const scaling = rope?.scaling ?? { kind: "none" };
  if (rope === undefined || rope.factors !== undefined || !["none", "linear"].includes(scaling.kind)) {
    throw new UnsupportedError(
      `${metadata.file}: a rotation of the kind ${rope?.factors === undefined ? scaling.kind : "llama3"} cannot be ` +
        "converted to a Hugging Face configuration yet",
    );
  }
  if (rope.rotated !== config.headDim) {
    throw new UnsupportedError(`${metadata.file}: heads that rotate in part cannot be converted yet`);
  }
  const attention = layers[0]?.attention;
  const token = (name: string) => metadata.integerOr(`tokenizer.ggml.${name}_token_id`, 0, 2 ** 31, null);
  return {
    architectures: [attention?.window === undefined ? "LlamaForCausalLM" : "MistralForCausalLM"],
    attention_bias: attention?.q.bias !== undefined,
    bos_token_id: token("bos"),
    eos_token_id: token("eos"),
    head_dim: config.headDim,
    hidden_act: "silu",
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.contextLength,
    mlp_bias: layers[0]?.feedForward.down.bias !== undefined,
    model_type: attention?.window === undefined ? "llama" : "mistral",
    num_attention_heads: config.heads,
    num_hidden_layers: config.layers,
    num_key_value_heads: config.kvHeads,
    rms_norm_eps: roundedTo7(config.normEpsilon),
    rope_scaling:
      scaling.kind === "linear" ? { rope_type: "linear", factor: roundedTo7(scaling.factor) } : null,
    rope_theta: roundedTo7(rope.base),
    ...(attention?.window === undefined ? {} : { sliding_window: attention.window }),
    tie_word_embeddings: output.head.tensor === embedding.table.tensor,
    torch_dtype: dtype,
    vocab_size: config.vocabularySize,
  };
}

/** What an f32 was written as: 1e-5, not 9.999999747378752e-6. */
function roundedTo7(value: number): number {
  return Number(value.toPrecision(7));
}
