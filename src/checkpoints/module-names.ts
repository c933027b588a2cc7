import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { patternOf, type Translation } from "./families/family.ts";

/**
 * What a checkpoint calls the tensors that GGUF's names are of: `blk.3.attn_q.weight` →
 * `model.layers.3.self_attn.q_proj.weight`. The output head stands beside what the prefix is of. The function throws
 * `UnsupportedError` for a tensor that such checkpoints lack, or that has other values there.
 */
export function checkpointNames({ modules, prefixes }: Translation): (tensor: string) => string {
  const named = Object.entries(modules).flatMap(([module, to]) => {
    if (typeof to !== "string" && "parameters" in to) return [];
    const isSame = typeof to === "string" && !module.includes("#");
    return [[typeof to === "string" ? to : to.name, { module, isSame }] as const];
  });
  const known = new Map(named);
  return (tensor) => {
    const dot = tensor.lastIndexOf(".");
    const { pattern, layer } = patternOf(`${tensor.slice(0, dot)}.`);
    const name = pattern.slice(0, -1);
    const found = known.get(name);
    if (found === undefined) {
      throw new UnsupportedError(`tensor ${quoted(tensor)} has no name in checkpoints of this family`);
    }
    if (!found.isSame) {
      throw new UnsupportedError(
        `tensor ${quoted(tensor)} is stored otherwise in checkpoints of this family, which cannot be written yet`,
      );
    }
    const prefix = name === "output" ? "" : (prefixes[0] ?? "");
    return `${prefix}${found.module.replace("*", layer)}${tensor.slice(dot)}`;
  };
}
