import type { ActivationLayout } from "../kernels/activations.ts";
import type { Blocking } from "../kernels/projection.ts";
import type { Rounds } from "./rounds.ts";
import type { Speeds } from "./speeds.ts";

/** Bytes that the thread with the largest share moves, by where they come from. */
export interface Traffic {
  readonly memory: number;
  readonly L3: number;
  readonly L2: number;
}

/**
 * Reuse distances: data that is used again stays in the smallest cache that holds everything used in between.
 *
 * - Weights come from memory once; every further step of tokens reads the row block again, between two reads all of
 *   the block and one step's inputs.
 * - Inputs are read by every row block, between two reads all tokens' inputs and the block; they are new to the core
 *   the first time, so never from L1. The row tiles of a block read a step's inputs again, between two reads the
 *   inputs and one tile's weights.
 * - Outputs are stored once. With several input blocks, partial sums are also loaded and stored by each but the first,
 *   between two of them the block, its outputs and all tokens' inputs of that block.
 */
export function trafficOf(
  capacity: Speeds["capacity"],
  { cols, rowBytes }: ActivationLayout,
  { mb, tu, nu }: Blocking,
  { share, rowBlocks, inputBlocks, tokenSteps, blockTiles }: Rounds,
  tileBytes: number,
): Traffic {
  const traffic = { memory: share * tileBytes, L3: 0, L2: 0 };
  const add = (bytes: number, reach: number, atLeastL2 = false) => {
    if (reach <= capacity.L1 && !atLeastL2) return;
    traffic[reach <= capacity.L2 ? "L2" : reach <= capacity.L3 ? "L3" : "memory"] += bytes;
  };
  const part = Math.min(1, mb / cols);
  const step = nu * rowBytes * part;
  const block = blockTiles * tileBytes * part;
  const inputs = tokenSteps * nu * rowBytes;
  const outputs = 4 * tokenSteps * nu * tu;
  add((tokenSteps - 1) * share * tileBytes, block + step);
  add(rowBlocks * inputs, inputs + block, true);
  add((share - rowBlocks) * inputs, step + tileBytes * part);
  add(2 * (inputBlocks - 1) * share * outputs, inputs * part + blockTiles * outputs + block);
  return traffic;
}
