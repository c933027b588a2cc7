import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { type Family, patternOf } from "./families/family.ts";

/**
 * What a checkpoint of the family calls the tensors that GGUF's names are of: `blk.3.attn_q.weight` →
 * `model.layers.3.self_attn.q_proj.weight`. The function throws `UnsupportedError` for a tensor that the family lacks.
 */
export function checkpointNames(family: Family): (tensor: string) => string {
  const modules = new Map(Object.entries(family.modules).map(([module, name]) => [name, module]));
  return (tensor) => {
    const dot = tensor.lastIndexOf(".");
    const { pattern, layer } = patternOf(`${tensor.slice(0, dot)}.`);
    const module = modules.get(pattern.slice(0, -1));
    if (module === undefined) {
      throw new UnsupportedError(`tensor ${quoted(tensor)} has no name in checkpoints of this family`);
    }
    return `${module.replace("*", layer)}${tensor.slice(dot)}`;
  };
}
