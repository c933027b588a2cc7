import type { Blocking } from "../kernels/projection.ts";
import type { Packing } from "../quant/packing.ts";
import { projectionParts } from "./parts.ts";
import type { ProjectionShape } from "./shape.ts";

/** Trip counts of the kernel's loops for the thread with the largest share, outermost first. */
export interface Rounds {
  /** Row tiles of the thread: parts may differ by one, so this is a mean. */
  readonly share: number;
  /** Blocks of `tb` outputs of the thread. */
  readonly rowBlocks: number;
  /** Blocks of `mb` inputs. */
  readonly inputBlocks: number;
  /** Steps of `nu` tokens; the last may be padding in part. */
  readonly tokenSteps: number;
  /** Row tiles of a row block. */
  readonly blockTiles: number;
}

/**
 * A step is split into parts of whole row tiles, and row blocks end where parts do; with `tb` = `tu` and one token there
 * are no row blocks. A thread runs one part after the other.
 */
export function roundsOf(
  { mb, tb, tu, nu }: Blocking,
  pack: Packing,
  tokens: number,
  threads: number,
): Rounds {
  const parts = projectionParts(pack, tokens === 1 ? "decode" : "prefill", threads);
  const ofThread = Math.ceil(parts / threads);
  const perPart = Math.ceil(pack.tiles / parts);
  const blockTiles = nu === 1 && tb === tu ? perPart : Math.min(tb / tu, perPart);
  return {
    share: (ofThread * pack.tiles) / parts,
    rowBlocks: ofThread * Math.ceil(perPart / blockTiles),
    inputBlocks: Math.ceil(pack.cols / mb),
    tokenSteps: Math.ceil(tokens / nu),
    blockTiles,
  };
}

/** One loop of the kernel, for people to read. */
export interface Loop {
  readonly over: "row blocks" | "input blocks" | "tokens" | "row tiles" | "micro-GEMV inputs";
  readonly rounds: number;
  /** What one round covers, in outputs, inputs or tokens. */
  readonly step: number;
}

/** The kernel's loops, outermost first. */
export function loopsOf(shape: ProjectionShape, blocking: Blocking, rounds: Rounds): Loop[] {
  const { mb, tb, tu, nu, mu } = blocking;
  const block = Math.min(mb, shape.cols);
  return [
    { over: "row blocks", rounds: rounds.rowBlocks, step: Math.min(tb, rounds.blockTiles * tu) },
    { over: "input blocks", rounds: rounds.inputBlocks, step: block },
    { over: "tokens", rounds: rounds.tokenSteps, step: nu },
    { over: "row tiles", rounds: rounds.blockTiles, step: tu },
    { over: "micro-GEMV inputs", rounds: Math.ceil(block / mu), step: mu },
  ];
}
