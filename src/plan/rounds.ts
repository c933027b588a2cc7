import { type Blocking, tokenSteps, tokensAtOnce } from "../kernels/blocking.ts";
import type { Packing } from "../quant/packing.ts";
import { projectionParts } from "./parts.ts";
import type { ProjectionShape } from "./shape.ts";

/** Trip counts of the kernel's loops for the thread with the largest share, outermost first. */
export interface Rounds {
  /** Row tiles of the thread: parts may differ by one, so this is a mean. */
  readonly share: number;
  /** Row blocks of the thread. */
  readonly rowBlocks: number;
  /** Blocks of `mb` inputs. */
  readonly inputBlocks: number;
  readonly tokens: number;
  /** Steps of `nu` tokens, and of fewer at the end. */
  readonly tokenSteps: number;
  /** Those of them that read expanded weights. */
  readonly expandedSteps: number;
  /** Row tiles of a row block: `tb` outputs, or all of a part. */
  readonly blockTiles: number;
}

/** A step is split into parts of whole row tiles, and row blocks end where parts do. A thread runs part after part. */
export function roundsOf(blocking: Blocking, pack: Packing, tokens: number, threads: number): Rounds {
  const { mb, tb, tu } = blocking;
  const parts = projectionParts(pack, tokens, threads);
  const ofThread = Math.ceil(parts / threads);
  const perPart = Math.ceil(pack.tiles / parts);
  const hasAll = pack.panels > 1 && tokens <= tokensAtOnce(blocking);
  const blockTiles = hasAll ? perPart : Math.min(tb / tu, perPart);
  const steps = tokenSteps(blocking, tokens);
  const total = (some: typeof steps) => some.reduce((sum, { count }) => sum + count, 0);
  return {
    share: (ofThread * pack.tiles) / parts,
    rowBlocks: ofThread * Math.ceil(perPart / blockTiles),
    inputBlocks: Math.ceil(pack.cols / mb),
    tokens,
    tokenSteps: total(steps),
    expandedSteps: total(steps.filter(({ expanded }) => expanded)),
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
  const { mb, tu, nu, mu } = blocking;
  const block = Math.min(mb, shape.cols);
  return [
    { over: "row blocks", rounds: rounds.rowBlocks, step: rounds.blockTiles * tu },
    { over: "input blocks", rounds: rounds.inputBlocks, step: block },
    { over: "tokens", rounds: rounds.tokenSteps, step: Math.min(nu, rounds.tokens) },
    { over: "row tiles", rounds: rounds.blockTiles, step: tu },
    { over: "micro-GEMV inputs", rounds: Math.ceil(block / mu), step: mu },
  ];
}
