import { type ModelProgram, orderOf } from "../engine/model-program.ts";
import { kvStrides } from "../kernels/kv-cache.ts";
import { type Linear, layerMatrices, nameOf } from "../models/model.ts";
import { rowBytes } from "../quant/blocks.ts";

/** What a model has to do, whoever does it: bytes as the formats define them, without padding, unless it says otherwise. */

/** The matrices that every token of a prompt passes, or some matrices of. */
function passed({ spec: { embedding, layers } }: ModelProgram): Linear[] {
  const ofLayers = layers.flatMap((layer) => layerMatrices(layer).map(([, linear]) => linear));
  return embedding.projection === undefined ? ofLayers : [embedding.projection, ...ofLayers];
}

/** Those that only tokens pass whose logits are wanted. */
function ofOutput({ spec: { output } }: ModelProgram): Linear[] {
  return output.projection === undefined ? [output.head] : [output.projection, output.head];
}

/** Rows of a matrix that a token meets: of a stack, those of its experts. */
function rowsMet({ rows, experts }: Linear): number {
  return rows * (experts?.used ?? 1);
}

/** Bytes of weights that one token reads: all but other tokens' rows of the embedding, and experts it does not pass. */
export function weightBytes(program: ModelProgram): number {
  const { table, positions } = program.spec.embedding;
  const row = (linear: Linear) => rowBytes(program.matrix(linear).packing.format, linear.cols);
  const looked = row(table) + (positions === undefined ? 0 : row(positions));
  const matrices = [...passed(program), ...ofOutput(program)];
  return matrices.reduce((sum, linear) => sum + rowsMet(linear) * row(linear), looked);
}

/** Bytes that the matrices of all layers have in memory: packed, with padding, and with the orders of their inputs. */
export function projectionBytes({ spec: { layers }, weights, matrices }: ModelProgram): number {
  const names = new Set(layers.flatMap(layerMatrices).map(([, linear]) => nameOf(linear)));
  const parts = [...names].flatMap((name) =>
    matrices.get(name)?.order === undefined ? [name] : [name, orderOf(name)],
  );
  return parts.reduce((sum, name) => sum + weights.part(name).bytes, 0);
}

/** Bytes of keys and values of `positions` positions. */
export function cacheBytes({ kv, spec }: ModelProgram, positions: number): number {
  return (positions / kv.pageTokens) * kvStrides(kv).page * spec.layers.length;
}

/** Operations of the matrix products of a prompt, whose last token alone meets the output head; a multiply-add is two. */
export function promptOperations(program: ModelProgram, tokens: number): number {
  const size = (linear: Linear) => 2 * rowsMet(linear) * linear.cols;
  const all = (linears: readonly Linear[]) => linears.reduce((sum, linear) => sum + size(linear), 0);
  return tokens * all(passed(program)) + all(ofOutput(program));
}
