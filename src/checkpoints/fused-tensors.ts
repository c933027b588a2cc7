import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { Linear, ModelSpec } from "../models/model.ts";
import { SlicedTensor } from "./changed-tensors.ts";
import { moduleNames, type Translation } from "./families/family.ts";

const PARTS = ["attn_q", "attn_k", "attn_v"] as const;

/** The model with a tensor for each of queries, keys and values, where checkpoints have them so and the file does not. */
export function dividedAsIn(translation: Translation, file: ModelFile, { layers }: ModelSpec): ModelFile {
  if (moduleNames(translation).has("blk.*.attn_qkv")) return file;
  const tensors = new Map<string, StoredTensor>(file.tensors);
  for (const [n, { attention }] of layers.entries()) {
    const { q, k, v } = attention;
    if (q.tensor !== k.tensor) continue;
    for (const [i, matrix] of [q, k, v].entries()) {
      for (const tensor of partsOf(file, matrix, `blk.${n}.${PARTS[i]}`)) tensors.set(tensor.name, tensor);
    }
    tensors.delete(q.tensor);
    if (q.bias !== undefined) tensors.delete(q.bias.tensor);
  }
  return { metadata: file.metadata, tensors };
}

/** The rows of a matrix, and its bias. */
function partsOf({ tensors }: ModelFile, { tensor, rows, cols, firstRow, bias }: Linear, name: string) {
  const weight = tensors.get(tensor) as StoredTensor;
  const parts = [new SlicedTensor(weight, `${name}.weight`, firstRow ?? 0, [cols, rows])];
  if (bias === undefined) return parts;
  const values = tensors.get(bias.tensor) as StoredTensor;
  return [...parts, new SlicedTensor(values, `${name}.bias`, bias.first ?? 0, [rows])];
}
