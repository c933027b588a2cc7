import type { ModelFile, StoredTensor } from "./model-file.ts";
import { stackOf } from "./stacked-tensor.ts";

/** What the first mixtures in GGUF call the matrix of an expert, instead of one tensor for all experts. */
const OF_EXPERT = /^(blk\.\d+\.ffn_(?:gate|up|down))\.(\d+)\.weight$/;

/** The file with one tensor for all experts. Throws `FileFormatError` where they are not alike, or one is missing. */
export function stackExperts({ metadata, tensors: stored }: ModelFile): ModelFile {
  const tensors = new Map<string, StoredTensor>();
  const stacks = new Map<string, Map<number, StoredTensor>>();
  for (const [name, tensor] of stored) {
    const [, part, expert] = OF_EXPERT.exec(name) ?? [];
    if (part === undefined) {
      tensors.set(name, tensor);
      continue;
    }
    const stack = `${part}_exps.weight`;
    stacks.set(stack, (stacks.get(stack) ?? new Map()).set(Number(expert), tensor));
  }
  for (const [name, experts] of stacks) tensors.set(name, stackOf(name, experts));
  return { metadata, tensors };
}
