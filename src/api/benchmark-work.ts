import type { ModelProgram } from "../engine/model-program.ts";
import { kvStrides } from "../kernels/kv-cache.ts";
import type { Linear } from "../models/model.ts";
import { rowBytes } from "../quant/blocks.ts";

/** What a model has to do, whoever does it: bytes as the formats define them, without padding. */

function layerMatrices({ spec }: ModelProgram): Linear[] {
  return spec.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
}

/** Bytes of weights that one token reads: all but those rows of the embedding that other tokens have. */
export function weightBytes(program: ModelProgram): number {
  const { embedding, output } = program.spec;
  const row = (linear: Linear) => rowBytes(program.matrix(linear).packing.format, linear.cols);
  const matrices = [...layerMatrices(program), output];
  return matrices.reduce((sum, linear) => sum + linear.rows * row(linear), row(embedding));
}

/** Bytes of keys and values of `positions` positions. */
export function cacheBytes({ kv, spec }: ModelProgram, positions: number): number {
  return (positions / kv.pageTokens) * kvStrides(kv).page * spec.layers.length;
}

/** Operations of the matrix products of a prompt, whose last token alone meets the output head; a multiply-add is two. */
export function promptOperations(program: ModelProgram, tokens: number): number {
  const size = ({ rows, cols }: Linear) => 2 * rows * cols;
  return (
    tokens * layerMatrices(program).reduce((sum, linear) => sum + size(linear), 0) + size(program.spec.output)
  );
}
