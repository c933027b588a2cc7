import type { StoredTensor } from "../../files/model-file.ts";
import type { Columns, Elements } from "../changed-tensors.ts";
import { Latest } from "../latest.ts";
import { plainTensor } from "../plain-tensor.ts";
import { parameter } from "../quantized/code-matrix.ts";
import { type ExpertShape, Mxfp4Tensor } from "../quantized/mxfp4.ts";
import { readDecoder } from "./decoder.ts";
import { matrixStack, vectorStack } from "./expert-stacks.ts";
import type { Family, ParameterReader } from "./family.ts";
import { ATTENTION, ENDS, LLAMA, likeLlama } from "./llama.ts";
import { writeExperts } from "./mixtures.ts";
import { expectSetting } from "./settings.ts";

/** What the gate's inputs are clamped to. */
const SWIGLU_LIMIT = 7;

/** gpt-oss: a tensor for all experts of a layer, in floats or in MXFP4. */
export const gptOss: Family = {
  read(config) {
    expectSetting(config, "hidden_act", "silu");
    expectSetting(config, "swiglu_limit", SWIGLU_LIMIT);
    const decoder = readDecoder(config, {
      ...LLAMA,
      architecture: "gpt-oss",
      epsilon: { key: "rms_norm_eps", fallback: 1e-5 },
      headDim: 64,
      rope: { base: { key: "rope_theta", fallback: 150_000 } },
      hasWindow: (_, layer) => layer % 2 === 0,
      window: 128,
    });
    const { keys, hiddenSize, innerSize } = decoder;
    keys.text("feed_forward.activation", "clampedSilu");
    keys.size("expert_feed_forward_length", innerSize);
    const count = writeExperts(decoder, config, ["num_local_experts"], { count: 128, used: 4 });
    return likeLlama(decoder, {
      ...ENDS,
      ...ATTENTION,
      "layers.*.input_layernorm": "blk.*.attn_norm",
      "layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
      norm: "output_norm",
      "layers.*.self_attn": {
        parameters: {
          sinks: (tensor, _, layer) => [plainTensor(`blk.${layer}.attn_sinks.weight`, tensor)],
        },
      },
      "layers.*.mlp.router": "blk.*.ffn_gate_inp",
      "layers.*.mlp.experts": {
        parameters: {
          ...expertParameters("gate_up_proj", ["ffn_gate_exps", "ffn_up_exps"], {
            count,
            rows: 2 * innerSize,
            cols: hiddenSize,
          }),
          ...expertParameters("down_proj", ["ffn_down_exps"], { count, rows: hiddenSize, cols: innerSize }),
        },
      },
    });
  },
};

/** The parameters of matrices whose outputs belong to the modules `names` in turn. */
function expertParameters(
  own: string,
  names: readonly string[],
  shape: ExpertShape,
): Readonly<Record<string, ParameterReader>> {
  const held = new Latest<Elements>();
  const each = (layer: string, parameter: string, make: (name: string, rows: Columns) => StoredTensor) =>
    names.map((name, first) => make(`blk.${layer}.${name}.${parameter}`, { first, step: names.length }));
  return {
    [own]: (tensor, _, layer) =>
      each(layer, "weight", (name, rows) => matrixStack(name, tensor, shape, rows, held)),
    [`${own}_bias`]: (tensor, _, layer) =>
      each(layer, "bias", (name, rows) => vectorStack(name, tensor, shape, rows, held)),
    [`${own}_blocks`]: (blocks, all, layer) => {
      const scales = parameter(all, `${own}_scales`, ["U8", "F8_E8M0"]);
      return each(layer, "weight", (name, rows) => new Mxfp4Tensor(name, blocks, scales, shape, rows));
    },
    // Read with the blocks.
    [`${own}_scales`]: () => [],
  };
}
