import type { Blocking } from "../kernels/projection.ts";
import type { ProjectionShape } from "./shape.ts";

/** Trip counts of the kernel's loops for the thread with the largest share, outermost first. */
export interface Rounds {
  /** Row tiles of the thread. */
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

/** Rows are split by tiles, as evenly as whole tiles allow; with `tb` = `tu` and one token there are no row blocks. */
export function roundsOf(
  { rows, cols }: Pick<ProjectionShape, "rows" | "cols">,
  { mb, tb, tu, nu }: Blocking,
  tokens: number,
  threads: number,
): Rounds {
  const share = Math.ceil(Math.ceil(rows / tu) / threads);
  const blockTiles = nu === 1 && tb === tu ? share : Math.min(tb / tu, share);
  return {
    share,
    rowBlocks: Math.ceil(share / blockTiles),
    inputBlocks: Math.ceil(cols / mb),
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
