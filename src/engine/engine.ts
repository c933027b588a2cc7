import { assert, at } from "../base/assert.ts";
import { AbortedError, UsageError } from "../base/errors.ts";
import { paddedCols } from "../kernels/activations.ts";
import { ropeTableCols, writeRopeTable } from "../kernels/rope.ts";
import type { RopeConfig } from "../models/model.ts";
import type { RopeAngles } from "../models/rope.ts";
import { STEP_ROWS, stepClass } from "../plan/parts.ts";
import type { Backend, Program, Region } from "./backend.ts";
import { type Bases, COUNTS, type ModelProgram } from "./model-program.ts";
import { PagePool, Sequence } from "./page-pool.ts";

/** One row of a step: a token of a sequence at the sequence's next position. */
export interface Row {
  readonly sequence: Sequence;
  readonly token: number;
  /** Whether the logits after this token are wanted. */
  readonly output: boolean;
}

/** The memory regions of a loaded model. */
export interface Regions {
  readonly weights: Region;
  readonly cache: Region;
  readonly work: Region;
}

/** Work on the weights beside the steps, which the engine begins after the first one so as not to delay it. */
export interface Settling {
  /** Whether it leaves something that later starts gain from. */
  readonly lasting: boolean;
  /** Does not fail, ends soon after the signal fires, and holds back while `busy` says that a step runs. */
  run(signal: AbortSignal, busy: () => boolean): Promise<void>;
}

/**
 * Runs steps of a compiled model: batches of rows of any mix of sequences, prefill and decode. One step at a time;
 * everything above it (sampling, stopping, scheduling) is the caller's.
 */
export class Engine {
  private readonly pool: PagePool;
  private readonly slots: boolean[];
  /** One for each of `STEP_ROWS`. */
  private readonly programs: readonly Program[];
  private readonly logitStride: number;
  private readonly ending = new AbortController();
  private settled: Promise<void> | undefined;
  private running = false;
  private disposal: Promise<void> | undefined;

  constructor(
    readonly program: ModelProgram,
    readonly backend: Backend,
    private readonly regions: Regions,
    /** Of every one of `program.ropes`. */
    private readonly angles: readonly RopeAngles[],
    private readonly settling?: Settling,
  ) {
    this.pool = new PagePool(program.pages);
    this.slots = Array(program.limits.sequences).fill(false);
    const bases: Bases = {
      weights: regions.weights.address,
      cache: regions.cache.address,
      work: regions.work.address,
    };
    this.programs = STEP_ROWS.map((rows) => backend.prepare(program.steps(rows, bases)));
    this.logitStride = paddedCols(program.spec.output.head.rows);
  }

  get vocabularySize(): number {
    return this.program.spec.output.head.rows;
  }

  /** A new, empty sequence. Throws `UsageError` when all are in use. */
  open(): Sequence {
    const slot = this.slots.indexOf(false);
    if (slot < 0) throw new UsageError(`all ${this.slots.length} sequences are in use`);
    this.slots[slot] = true;
    return new Sequence(slot, this.pool, this.program.kv.pageTokens);
  }

  /** Gives a sequence's pages back. */
  close(sequence: Sequence): void {
    sequence.truncate(0);
    this.slots[sequence.slot] = false;
  }

  /**
   * Appends the rows to their sequences and runs the model on them. Returns the logits of the rows that want them, in
   * order: copies of `vocabularySize` floats each. On failure or abort the sequences are as before. Throws
   * `AbortedError` once the engine is disposed, since its memory is gone.
   */
  async step(rows: readonly Row[], signal?: AbortSignal): Promise<Float32Array[]> {
    this.checkAlive();
    const { limits } = this.program;
    const wanted = rows.flatMap((row, i) => (row.output ? [i] : []));
    assert(rows.length > 0 && rows.length <= limits.maxRows, `${rows.length} rows in a step`);
    assert(wanted.length <= limits.maxOutputs, `${wanted.length} outputs in a step`);
    const positions = this.place(rows);
    this.writeRows(rows, positions, wanted);
    await this.run(rows.length, signal);
    this.checkAlive();
    this.settled ??= this.settling?.run(this.ending.signal, () => this.running);
    rows.forEach(({ sequence }) => {
      sequence.length++;
    });
    return wanted.map((_, i) => this.logits(i));
  }

  private async run(rows: number, signal: AbortSignal | undefined): Promise<void> {
    this.running = true;
    try {
      await this.backend.run(at(this.programs, stepClass(rows)), signal);
    } finally {
      this.running = false;
    }
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
    const view = this.regions.work.view(offset, bytes);
    return new Int32Array(view.buffer, view.byteOffset, bytes / 4);
  }

  private writeRows(rows: readonly Row[], positions: readonly number[], wanted: readonly number[]): void {
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

  /** The rotation of every row. */
  private writeRopeTable(n: number, { pairing, rotated }: RopeConfig, positions: readonly number[]): void {
    const { frequencies, magnitude } = at(this.angles, n);
    const cols = ropeTableCols(rotated);
    const { offset } = this.program.work.part(`ropeTable${n}`);
    const view = this.regions.work.view(offset, 4 * cols * positions.length);
    const table = new Float32Array(view.buffer, view.byteOffset, cols * positions.length);
    positions.forEach((position, i) => {
      const angle = (pair: number) => position * (frequencies[pair] as number);
      writeRopeTable(table.subarray(i * cols, (i + 1) * cols), pairing, rotated, angle, magnitude);
    });
  }

  private logits(output: number): Float32Array {
    const { offset } = this.program.work.part("logits");
    const view = this.regions.work.view(offset + 4 * output * this.logitStride, 4 * this.vocabularySize);
    return new Float32Array(view.buffer, view.byteOffset, this.vocabularySize).slice();
  }

  private checkAlive(): void {
    if (this.disposal !== undefined) throw new AbortedError("the model was disposed");
  }

  /** Resolves when the work beside the steps is done; at once while no step has run. */
  async whenSettled(): Promise<void> {
    // The work itself does not keep the process alive, who waits for it does.
    const waiting = setInterval(() => undefined, 1000);
    await this.settled;
    clearInterval(waiting);
  }

  /** As `whenSettled`, but waits only for what later starts gain from, and until the signal fires at most. */
  async whenSaved(signal?: AbortSignal): Promise<void> {
    if (this.settling?.lasting !== true || signal?.aborted) return;
    const given = new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }));
    await Promise.race([this.whenSettled(), given]);
  }

  /** Stops a step that runs, then frees the memory and the threads. */
  dispose(): Promise<void> {
    this.disposal ??= this.end();
    return this.disposal;
  }

  private async end(): Promise<void> {
    this.ending.abort();
    await this.settled;
    await this.backend.dispose();
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
