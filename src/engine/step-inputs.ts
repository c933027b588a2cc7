import { assert, at } from "../base/assert.ts";
import { ropeTableCols, writeRopeTable } from "../kernels/rope.ts";
import type { ModelPart, RopeConfig } from "../models/model.ts";
import type { RopeAngles } from "../models/rope.ts";
import type { Region } from "./backend.ts";
import { COUNTS, type ModelProgram } from "./model-program.ts";
import type { Sequence } from "./page-pool.ts";

/** One row of a step: a token of a sequence at the sequence's next position. */
export interface Row {
  readonly sequence: Sequence;
  readonly token: number;
  /** Whether the logits after this token are wanted. */
  readonly output: boolean;
}

/** Writes what kernels must know of the rows of a step: counters, positions, pages, rotations. */
export class StepInputs {
  /** @param angles of every one of `program.ropes` */
  constructor(
    private readonly program: ModelProgram<ModelPart>,
    private readonly work: Region,
    private readonly angles: readonly RopeAngles[],
  ) {}

  /** Reserves pages for the rows, and writes them; `wanted` are the rows whose output is wanted. */
  write(rows: readonly Row[], wanted: readonly number[]): void {
    const positions = this.place(rows);
    const { kv, pagesPerSequence, ropes } = this.program;
    const counts = this.integers("counts");
    counts[COUNTS.rows / 4] = rows.length;
    counts[COUNTS.outputs / 4] = wanted.length;
    const blocks = rowBlocks(rows, this.program.attentionBlock(rows.length).rows);
    counts[COUNTS.blocks / 4] = blocks.length;
    this.integers("blocks").set(blocks.flat());
    this.integers("outputList").set(wanted);
    this.integers("positions").set(positions);
    this.integers("tokens").set(rows.map((row) => row.token));
    this.integers("tableOf").set(rows.map((row) => row.sequence.slot * pagesPerSequence));
    const page = (row: Row, i: number) =>
      row.sequence.pages[Math.floor((positions[i] as number) / kv.pageTokens)] as number;
    this.integers("pageOf").set(rows.map(page));
    const tables = this.integers("tables");
    for (const sequence of new Set(rows.map((row) => row.sequence))) {
      tables.set(sequence.pages, sequence.slot * pagesPerSequence);
    }
    ropes.forEach((rope, n) => this.writeRopeTable(n, rope, positions));
  }

  /** Positions of the rows, with pages reserved for them. */
  private place(rows: readonly Row[]): number[] {
    const next = new Map<Sequence, number>();
    const positions = rows.map(({ sequence }) => {
      const position = next.get(sequence) ?? sequence.length;
      next.set(sequence, position + 1);
      return position;
    });
    for (const [sequence, length] of next) {
      assert(length <= this.program.limits.contextLength, `a sequence of ${length} positions`);
      sequence.reserve(length);
    }
    return positions;
  }

  private integers(part: string): Int32Array {
    const { offset, bytes } = this.program.work.part(part);
    const view = this.work.view(offset, bytes);
    return new Int32Array(view.buffer, view.byteOffset, bytes / 4);
  }

  /** The rotation of every row. */
  private writeRopeTable(n: number, { pairing, rotated }: RopeConfig, positions: readonly number[]): void {
    const { frequencies, magnitude } = at(this.angles, n);
    const cols = ropeTableCols(rotated);
    const { offset } = this.program.work.part(`ropeTable${n}`);
    const view = this.work.view(offset, 4 * cols * positions.length);
    const table = new Float32Array(view.buffer, view.byteOffset, cols * positions.length);
    positions.forEach((position, i) => {
      const angle = (pair: number) => position * (frequencies[pair] as number);
      writeRopeTable(table.subarray(i * cols, (i + 1) * cols), pairing, rotated, angle, magnitude);
    });
  }
}

/** Runs of at most `most` rows of one sequence, as [first row, number of rows]. */
function rowBlocks(rows: readonly Row[], most: number): [number, number][] {
  const blocks: [number, number][] = [];
  rows.forEach(({ sequence }, i) => {
    const open = blocks.at(-1);
    if (open !== undefined && rows[open[0]]?.sequence === sequence && open[1] < most) open[1]++;
    else blocks.push([i, 1]);
  });
  return blocks;
}
