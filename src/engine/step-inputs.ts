import { assert, at } from "../base/assert.ts";
import { ropeTableCols, writeRopeTable } from "../kernels/rope.ts";
import type { ModelPart, RopeConfig } from "../models/model.ts";
import type { RopeAngles } from "../models/rope.ts";
import type { Region } from "./backend.ts";
import { COUNTS, type ModelProgram } from "./model-program.ts";
import type { Sequence } from "./page-pool.ts";
import { type Placed, rowBlocks, type Target } from "./rows.ts";

/** Writes what kernels must know of the rows of a step: counters, positions, pages, rotations. */
export class StepInputs {
  /** @param angles of every one of `program.ropes` */
  constructor(
    private readonly program: ModelProgram<ModelPart>,
    private readonly work: Region,
    private readonly angles: readonly RopeAngles[],
  ) {}

  /** Reserves pages for the rows, and writes them; `wanted` are the rows whose output is wanted. */
  write(rows: readonly Placed[], wanted: readonly number[]): void {
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
    const page = (row: Placed, i: number) =>
      row.sequence.pages[Math.floor((positions[i] as number) / kv.pageTokens)] as number;
    this.integers("pageOf").set(rows.map(page));
    const tables = this.integers("tables");
    for (const sequence of new Set(rows.map((row) => row.sequence))) {
      tables.set(sequence.pages, sequence.slot * pagesPerSequence);
    }
    ropes.forEach((rope, n) => this.writeRopeTable(n, rope, positions));
  }

  /** Which rows of the last pass logits are made of, and what their targets are. */
  writeTargets(part: readonly Target[]): void {
    this.integers("counts")[COUNTS.outputs / 4] = part.length;
    this.integers("outputList").set(part.map(({ row }) => row));
    this.integers("targets").set(part.map(({ token }) => token));
  }

  /** Positions of the rows, with pages reserved for them. */
  private place(rows: readonly Placed[]): number[] {
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
