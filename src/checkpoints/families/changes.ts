/** What becomes of tensors of a module that GGUF has in another form. */

import type { StoredTensor } from "../../files/model-file.ts";
import {
  type Elements,
  inverseRuns,
  RearrangedTensor,
  RenamedTensor,
  type Run,
  ShiftedVector,
  TransposedTensor,
} from "../changed-tensors.ts";
import { Latest } from "../latest.ts";
import type { ChangedModule } from "./family.ts";

const FLOATS = ["F32", "F16", "BF16"];

/** A norm whose weights w stand for 1 + w. */
export function increased(name: string): ChangedModule {
  const shifted = (by: number) => (tensor: StoredTensor) =>
    FLOATS.includes(tensor.type) ? new ShiftedVector(tensor, by) : tensor;
  return { name, change: shifted(1), restore: shifted(-1) };
}

/** A matrix of one output, which GGUF has as a vector. */
export function rowVector(name: string): ChangedModule {
  return {
    name,
    change(tensor) {
      const [cols = 1, ...others] = tensor.shape;
      return others.every((extent) => extent === 1) ? new RenamedTensor(tensor, tensor.name, [cols]) : tensor;
    },
    restore: (tensor) => new RenamedTensor(tensor, tensor.name, [...tensor.shape, 1]),
  };
}

/** Modules of the same names whose float matrices have inputs as rows; quantizers transpose them. */
export function transposed(names: readonly string[]): readonly ChangedModule[] {
  const held = new Latest<Elements>();
  const change = (tensor: StoredTensor) =>
    FLOATS.includes(tensor.type) && tensor.shape.length === 2 ? new TransposedTensor(tensor, held) : tensor;
  return names.map((name) => ({ name, change, restore: change }));
}

/**
 * Queries, keys and values in one matrix, where a key-value head follows on the queries that it serves: `groups` times
 * `perGroup` heads of queries, one of keys, one of values. GGUF has all queries first, then all keys, all values.
 */
export function groupedHeads(name: string, groups: number, perGroup: number, headDim: number): ChangedModule {
  const runs = () => groupedRuns(groups, perGroup, headDim);
  return {
    name,
    change: (tensor) => new RearrangedTensor(tensor, runs),
    restore: (tensor) => new RearrangedTensor(tensor, () => inverseRuns(runs())),
    runs,
  };
}

function* groupedRuns(groups: number, perGroup: number, headDim: number): Generator<Run> {
  for (const [first, heads] of [
    [0, perGroup],
    [perGroup, 1],
    [perGroup + 1, 1],
  ] as const) {
    for (let group = 0; group < groups; group++) {
      const head = group * (perGroup + 2) + first;
      yield { first: head * headDim, count: heads * headDim };
    }
  }
}
