import { at } from "../base/assert.ts";
import { FileFormatError } from "../base/errors.ts";
import type { ModelFile, StoredTensor } from "./model-file.ts";
import { StackedTensor } from "./stacked-tensor.ts";

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
  for (const [name, experts] of stacks) tensors.set(name, new StackedTensor(name, inOrder(experts)));
  return { metadata, tensors };
}

/** Experts 0, 1, …, of one type and shape. */
function inOrder(experts: ReadonlyMap<number, StoredTensor>): StoredTensor[] {
  const sorted = [...experts].sort(([a], [b]) => a - b);
  const [, first] = at(sorted, 0);
  const same = ({ type, shape }: StoredTensor) => type === first.type && `${shape}` === `${first.shape}`;
  sorted.forEach(([number, tensor], i) => {
    const field = `tensor ${tensor.name}`;
    if (number !== i) throw new FileFormatError(tensor.file, field, `is there, but none of expert ${i}`);
    if (!same(tensor)) throw new FileFormatError(tensor.file, field, "is not like that of expert 0");
  });
  return sorted.map(([, tensor]) => tensor);
}
