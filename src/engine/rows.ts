import { assert } from "../base/assert.ts";
import type { Sequence } from "./page-pool.ts";

/** One row of a step: a token of a sequence at the sequence's next position. */
export interface Placed {
  readonly sequence: Sequence;
  readonly token: number;
}

/** A row that is scored: `target` is the token after it, if its probability is wanted. */
export interface ScoredRow extends Placed {
  readonly target?: number | undefined;
}

/** A row of a step, and the token after it. */
export interface Target {
  readonly row: number;
  readonly token: number;
}

/** The rows with a target, at most `most` at a time. */
export function* targetParts(rows: readonly ScoredRow[], most: number): Generator<Target[]> {
  assert(most > 0, "no room for the logits of a row");
  const targets = rows.flatMap(({ target }, row) => (target === undefined ? [] : [{ row, token: target }]));
  for (let i = 0; i < targets.length; i += most) yield targets.slice(i, i + most);
}

/** Runs of at most `most` rows of one sequence, as [first row, number of rows]. */
export function rowBlocks(rows: readonly Placed[], most: number): [number, number][] {
  const blocks: [number, number][] = [];
  rows.forEach(({ sequence }, i) => {
    const open = blocks.at(-1);
    if (open !== undefined && rows[open[0]]?.sequence === sequence && open[1] < most) open[1]++;
    else blocks.push([i, 1]);
  });
  return blocks;
}
