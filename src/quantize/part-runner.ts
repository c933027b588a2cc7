import type { Backend, Program, Region } from "../engine/backend.ts";
import type { ModelProgram } from "../engine/model-program.ts";
import { PagePool, Sequence } from "../engine/page-pool.ts";
import { StepInputs } from "../engine/step-inputs.ts";
import type { Observer } from "../engine/step-list.ts";
import { loadWeights } from "../engine/weights.ts";
import type { ModelFile } from "../files/model-file.ts";
import { paddedCols } from "../kernels/activations.ts";
import type { ModelPart } from "../models/model.ts";
import type { RopeAngles } from "../models/rope.ts";
import { STEP_ROWS, stepClass } from "../plan/parts.ts";

/** The residual stream of the tokens of a text: [tokens][width]. */
export type Stream = Float32Array;

/** Runs a part of a model on whole texts, from their tokens or their residual streams to their residual streams. */
export class PartRunner {
  private readonly weights: Region;
  private readonly cache: Region;
  private readonly work: Region;
  private readonly inputs: StepInputs;
  private readonly sequence: Sequence;
  private programs: readonly Program[] = [];

  constructor(
    private readonly program: ModelProgram<ModelPart>,
    private readonly backend: Backend,
    private readonly file: ModelFile,
    angles: readonly RopeAngles[],
    private readonly signal: AbortSignal | undefined,
  ) {
    this.weights = backend.allocate(program.weights.bytes, "weights");
    this.cache = backend.allocate(program.cache.bytes, "working");
    this.work = backend.allocate(program.work.bytes, "working");
    this.inputs = new StepInputs(program, this.work, angles);
    this.sequence = new Sequence(0, new PagePool(program.pages), program.kv.pageTokens);
  }

  /** Reads the weights, again where they have changed. */
  load(): Promise<void> {
    return loadWeights(this.program, this.backend, this.weights, this.file, { signal: this.signal });
  }

  /** From now on, steps are as `observe` says. */
  observe(observe: Observer | undefined): void {
    const bases = {
      weights: this.weights.address,
      cache: this.cache.address,
      work: this.work.address,
    };
    this.programs = STEP_ROWS.map((rows) => this.backend.prepare(this.program.steps(rows, bases, observe)));
  }

  /**
   * Runs a text from its first token on.
   *
   * @param stream what comes in, unless the part begins with the embedding, and what comes out
   */
  async run(tokens: readonly number[], stream: Stream): Promise<void> {
    const { maxRows } = this.program.limits;
    const { spec } = this.program;
    this.sequence.truncate(0);
    for (let first = 0; first < tokens.length; first += maxRows) {
      const rows = tokens
        .slice(first, first + maxRows)
        .map((token) => ({ sequence: this.sequence, token, output: false }));
      this.inputs.write(rows, []);
      if (spec.embedding === undefined) this.copy(stream, first, rows.length, "in");
      await this.backend.run(this.programs[stepClass(rows.length)] as Program, this.signal);
      this.copy(stream, first, rows.length, "out");
      this.sequence.length += rows.length;
    }
  }

  private copy(stream: Stream, first: number, rows: number, way: "in" | "out"): void {
    const width = this.program.spec.config.hiddenSize;
    const stride = paddedCols(width);
    const view = this.work.view(this.program.work.offset("x"), 4 * rows * stride);
    const x = new Float32Array(view.buffer, view.byteOffset, rows * stride);
    for (let r = 0; r < rows; r++) {
      const row = stream.subarray((first + r) * width, (first + r + 1) * width);
      const own = x.subarray(r * stride, r * stride + width);
      if (way === "in") own.set(row);
      else row.set(own);
    }
  }

  /** Gives its memory back. */
  release(): void {
    for (const region of [this.weights, this.cache, this.work]) this.backend.release(region);
  }
}
