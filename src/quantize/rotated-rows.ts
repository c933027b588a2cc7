import { UnsupportedError } from "../base/errors.ts";
import type { Run } from "../checkpoints/changed-tensors.ts";
import type { OpenModel } from "../engine/load-model.ts";
import type { StoredTensor } from "../files/model-file.ts";
import type { RopePairing } from "../kernels/rope.ts";

/**
 * Where rows of queries and keys come from in a file that pairs dimensions in another way; undefined where it is the same,
 * and for other tensors. `halves` rotates dimension i of a head with i + n/2 of the n that rotate, `interleaved` 2i with
 * 2i + 1. Throws `UnsupportedError` for a tensor that has more than queries or keys.
 */
export function rotatedRuns(
  { spec, file }: Pick<OpenModel, "spec" | "file">,
  name: string,
  to: RopePairing,
): readonly Run[] | undefined {
  const { headDim, rope } = spec.config;
  const [, module] = /\.attn_(q|k|qkv)\.(?:weight|bias)$/.exec(name) ?? [];
  if (module === undefined || rope === undefined || rope.pairing === to) return undefined;
  if (module === "qkv") {
    throw new UnsupportedError(
      `${file.metadata.file}: tensor ${name} has queries, keys and values, whose rows would have to change places`,
    );
  }
  const { shape } = file.tensors.get(name) as StoredTensor;
  const rows = shape.at(-1) ?? 1;
  const half = rope.rotated / 2;
  return Array.from({ length: rows }, (_, r) => {
    const d = r % headDim;
    if (d >= rope.rotated) return { first: r, count: 1 };
    const from = to === "interleaved" ? (d & 1) * half + (d >> 1) : 2 * (d % half) + Math.floor(d / half);
    return { first: r - d + from, count: 1 };
  });
}
