import { assert, at } from "../base/assert.ts";
import { AbortedError, UsageError } from "../base/errors.ts";
import type { RopeAngles } from "../models/rope.ts";
import { STEP_ROWS, stepClass } from "../plan/parts.ts";
import type { Backend, Program, Region } from "./backend.ts";
import { type Bases, type ModelProgram, OUTPUT_KINDS, type OutputKind } from "./model-program.ts";
import { PagePool, Sequence } from "./page-pool.ts";
import { type Placed, type ScoredRow, type Target, targetParts } from "./rows.ts";
import { StepInputs } from "./step-inputs.ts";
import { type ComparedScore, comparedScore, type TokenScore, tokenScore } from "./token-score.ts";

/** A row, and whether its logits are copied out. */
export interface Row extends Placed {
  /** Whether the logits after this token are wanted. */
  readonly output: boolean;
}

/** A row of which something is wanted: how likely its target is. */
export type RowToScore = Omit<ScoredRow, "sequence">;

/** Where the logits come from that a model's own are compared with. */
export interface BaseLogits {
  /** Rows of logits that it gives at a time, at most. */
  readonly maxOutputs: number;
  /** Makes the logits of the next rows of the text, which `read` is then asked for. */
  begin(rows: readonly RowToScore[], signal: AbortSignal | undefined): Promise<void>;
  /** The logits of rows with a target, in the order of the rows: as an engine's lie, with their padding. */
  read(part: readonly Target[], signal: AbortSignal | undefined): Promise<Uint8Array>;
  /** Called when all logits of the rows were read. */
  end(rows: readonly RowToScore[]): void;
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
  private readonly inputs: StepInputs;
  private readonly slots: boolean[];
  /** One for each of `STEP_ROWS`. */
  private readonly programs: readonly Program[];
  private readonly outputs: Readonly<Record<OutputKind, Program>>;
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
    const outputs = OUTPUT_KINDS.map(
      (kind) => [kind, backend.prepare(program.outputSteps(kind, bases))] as const,
    );
    this.outputs = Object.fromEntries(outputs) as Record<OutputKind, Program>;
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
    const wanted = rows.flatMap((row, i) => (row.output ? [i] : []));
    assert(wanted.length <= this.program.limits.maxOutputs, `${wanted.length} outputs in a step`);
    await this.pass(rows, wanted, signal);
    this.append(rows);
    return wanted.map((_, i) => this.logits(i));
  }

  /**
   * As `step`, but returns how likely the targets of the rows that have one are, in order. Any number of them: logits
   * are made for some rows at a time, and stay where they are; `onLogits` sees them, with their padding, until it returns.
   */
  async score(
    rows: readonly ScoredRow[],
    signal?: AbortSignal,
    onLogits?: (logits: Uint8Array) => Promise<void>,
  ): Promise<TokenScore[]> {
    await this.pass(rows, [], signal);
    const scores: TokenScore[] = [];
    for (const part of targetParts(rows, this.program.limits.maxOutputs)) {
      await this.output("scores", part, signal);
      await onLogits?.(this.logitRows(0, part.length));
      const records = this.floats("scores");
      scores.push(...part.map((_, i) => tokenScore(records, i)));
    }
    this.append(rows);
    return scores;
  }

  /** As `score`, beside the predictions of a base with the same vocabulary. */
  async compare(
    rows: readonly ScoredRow[],
    base: BaseLogits,
    signal?: AbortSignal,
  ): Promise<ComparedScore[]> {
    await base.begin(rows, signal);
    await this.pass(rows, [], signal);
    const { comparedRows } = this.program;
    const scores: ComparedScore[] = [];
    for (const part of targetParts(rows, Math.min(comparedRows, base.maxOutputs))) {
      const logits = await base.read(part, signal);
      const place = this.logitRows(comparedRows, part.length);
      assert(logits.length === place.length, "logits of another vocabulary");
      place.set(logits);
      await this.output("comparison", part, signal);
      const records = this.floats("scores");
      scores.push(...part.map((_, i) => comparedScore(records, i)));
    }
    this.append(rows);
    base.end(rows);
    return scores;
  }

  /** What this engine makes of the same texts, on a sequence of its own, as the base of a comparison. */
  asBase(sequence: Sequence): BaseLogits {
    const own = (rows: readonly RowToScore[]) => rows.map((row) => ({ ...row, sequence }));
    return {
      maxOutputs: this.program.limits.maxOutputs,
      begin: (rows, signal) => this.pass(own(rows), [], signal),
      read: async (part, signal) => {
        await this.output("logits", part, signal);
        return this.logitRows(0, part.length);
      },
      end: (rows) => this.append(own(rows)),
    };
  }

  /** A forward pass, up to the logits of the rows that are wanted. */
  private async pass(
    rows: readonly Placed[],
    wanted: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.checkAlive();
    const { maxRows } = this.program.limits;
    assert(rows.length > 0 && rows.length <= maxRows, `${rows.length} rows in a step`);
    this.inputs.write(rows, wanted);
    await this.run(at(this.programs, stepClass(rows.length)), signal);
    this.settled ??= this.settling?.run(this.ending.signal, () => this.running);
  }

  /** Goes on from the last pass to the logits of some rows, and what is wanted of them. */
  private async output(
    kind: OutputKind,
    part: readonly Target[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.checkAlive();
    this.inputs.writeTargets(part);
    await this.run(this.outputs[kind], signal);
  }

  private append(rows: readonly Placed[]): void {
    for (const { sequence } of rows) sequence.length++;
  }

  private async run(program: Program, signal: AbortSignal | undefined): Promise<void> {
    this.running = true;
    try {
      await this.backend.run(program, signal);
    } finally {
      this.running = false;
    }
    this.checkAlive();
  }

  private floats(part: string): Float32Array {
    const { offset, bytes } = this.program.work.part(part);
    const view = this.regions.work.view(offset, bytes);
    return new Float32Array(view.buffer, view.byteOffset, bytes / 4);
  }

  private logits(output: number): Float32Array {
    const { buffer, byteOffset } = this.logitRows(output, 1);
    return new Float32Array(buffer, byteOffset, this.vocabularySize).slice();
  }

  /** The bytes of some rows of logits, with their padding. */
  private logitRows(first: number, rows: number): Uint8Array {
    const start = this.program.logitsAt(first);
    return this.regions.work.view(start, this.program.logitsAt(first + rows) - start);
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
