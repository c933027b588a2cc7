import { assert, at } from "../base/assert.ts";
import { AbortedError, UsageError } from "../base/errors.ts";
import { paddedCols } from "../kernels/activations.ts";
import type { RopeAngles } from "../models/rope.ts";
import { STEP_ROWS, stepClass } from "../plan/parts.ts";
import type { Backend, Program, Region } from "./backend.ts";
import type { Bases, ModelProgram } from "./model-program.ts";
import { PagePool, Sequence } from "./page-pool.ts";
import { type Row, StepInputs } from "./step-inputs.ts";

export type { Row } from "./step-inputs.ts";

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
  private readonly inputs: StepInputs;
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
    angles: readonly RopeAngles[],
    private readonly settling?: Settling,
  ) {
    this.pool = new PagePool(program.pages);
    this.inputs = new StepInputs(program, regions.work, angles);
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
    this.inputs.write(rows, wanted);
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
