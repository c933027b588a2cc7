import type { ActivationLayout } from "../kernels/activations.ts";
import type { Blocking } from "../kernels/blocking.ts";
import type { Packing } from "../quant/packing.ts";
import type { Rounds } from "./rounds.ts";
import type { Speeds } from "./speeds.ts";

/** Bytes that the thread with the largest share moves, by where they come from; and what all threads move from memory. */
export interface Traffic {
  readonly memory: number;
  readonly L3: number;
  readonly L2: number;
  readonly memoryOfAll: number;
}

/**
 * Reuse distances: data that is used again stays in the smallest cache that holds everything used in between.
 *
 * - Weights come from memory once; every further step of tokens reads the row block again, between two reads all of
 *   the block and one step's inputs.
 * - Expanded weights are stored once and read by every step that finds them, between two reads all of the block and one
 *   step's inputs.
 * - Inputs are read by every row block, between two reads all tokens' inputs and the block; the first time they are new
 *   to the core, so not in L1. The row tiles of a block read a step's inputs again, between two reads the
 *   inputs and one tile's weights.
 * - Outputs are stored once. With several input blocks, partial sums are also loaded and stored by each but the first,
 *   between two of them the block, its outputs and all tokens' inputs of that block.
 */
export function trafficOf(
  capacity: Speeds["capacity"],
  { cols, rowBytes }: ActivationLayout,
  { mb, tu, nu }: Blocking,
  { share, rowBlocks, inputBlocks, tokens, tokenSteps, expandedSteps, blockTiles }: Rounds,
  { tileBytes, tiles }: Packing,
  threads: number,
  expanded?: Packing,
): Traffic {
  const traffic = { memory: share * tileBytes, L3: 0, L2: 0, memoryOfAll: tiles * tileBytes };
  const add = (unit: number, ofThread: number, ofAll: number, reach: number) => {
    if (reach <= capacity.L1) return;
    const level = reach <= capacity.L2 ? "L2" : reach <= capacity.L3 ? "L3" : "memory";
    traffic[level] += unit * ofThread;
    if (level === "memory") traffic.memoryOfAll += unit * ofAll;
  };
  const part = Math.min(1, mb / cols);
  const step = Math.min(nu, tokens) * rowBytes * part;
  const block = blockTiles * tileBytes * part;
  const inputs = tokens * rowBytes;
  const outputs = 4 * tokens * tu;
  const firsts = Math.min(threads, tiles);
  const allRowBlocks = Math.max(firsts, Math.ceil(tiles / blockTiles));
  const passes = tokenSteps - expandedSteps + Math.min(1, expandedSteps);
  add((passes - 1) * tileBytes, share, tiles, block + step);
  if (expanded !== undefined) {
    const bytes = expanded.tileBytes * inputBlocks;
    add((expandedSteps + 1) * bytes, share, tiles, blockTiles * expanded.tileBytes + step);
  }
  add(inputs, 1, firsts, Math.max(inputs + block, capacity.L1 + 1));
  add(inputs, rowBlocks - 1, allRowBlocks - firsts, inputs + block);
  add(inputs, share - rowBlocks, tiles - allRowBlocks, step + tileBytes * part);
  add(2 * (inputBlocks - 1) * outputs, share, tiles, inputs * part + blockTiles * outputs + block);
  return traffic;
}
