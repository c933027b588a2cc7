import type { Backend, Program, Region } from "../engine/backend.ts";
import type { ModelProgram } from "../engine/model-program.ts";
import { StepInputs } from "../engine/step-inputs.ts";
import { comparedScore } from "../engine/token-score.ts";
import { loadWeights } from "../engine/weights.ts";
import type { ModelFile } from "../files/model-file.ts";
import { paddedCols } from "../kernels/activations.ts";
import type { ModelPart } from "../models/model.ts";
import type { Stream } from "./part-runner.ts";

/** How far a model's predictions are off. */
export interface Loss {
  /** Kullback–Leibler divergence from those of the model as it is: nats. */
  readonly divergence: number;
  /** −ln p of the tokens of the text. */
  readonly surprise: number;
}

/** Makes logits of residual streams, and compares them. */
export class HeadRunner {
  private readonly weights: Region;
  private readonly work: Region;
  private readonly inputs: StepInputs;
  private readonly logits: Program;
  private readonly comparison: Program;

  private constructor(
    private readonly program: ModelProgram<ModelPart>,
    private readonly backend: Backend,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.weights = backend.allocate(program.weights.bytes, "weights");
    this.work = backend.allocate(program.work.bytes, "working");
    this.inputs = new StepInputs(program, this.work, []);
    const bases = { weights: this.weights.address, cache: 0, work: this.work.address };
    this.logits = backend.prepare(program.outputSteps("logits", bases));
    this.comparison = backend.prepare(program.outputSteps("comparison", bases));
  }

  /** Reads the weights. */
  static async load(
    program: ModelProgram<ModelPart>,
    backend: Backend,
    file: ModelFile,
    signal: AbortSignal | undefined,
  ): Promise<HeadRunner> {
    const runner = new HeadRunner(program, backend, signal);
    await loadWeights(program, backend, runner.weights, file, { signal });
    return runner;
  }

  /**
   * What each of the others predicts for a text beside the base: sums over all tokens but the first. The streams are those
   * of the text behind the last layer.
   */
  async compare(text: readonly number[], base: Stream, others: readonly Stream[]): Promise<Loss[]> {
    const { program } = this;
    const most = program.comparedRows;
    const sums = others.map(() => ({ divergence: 0, surprise: 0 }));
    for (let first = 0; first < text.length - 1; first += most) {
      const targets = text.slice(first + 1, first + 1 + most);
      await this.run(this.logits, base, first, targets);
      this.logitRows(most, targets.length).set(this.logitRows(0, targets.length));
      for (const [i, other] of others.entries()) {
        await this.run(this.comparison, other, first, targets);
        this.addScores(targets.length, sums[i] as (typeof sums)[number]);
      }
    }
    return sums;
  }

  /** @param targets the tokens that follow those of the rows from `first` on */
  private async run(what: Program, stream: Stream, first: number, targets: readonly number[]): Promise<void> {
    const width = this.program.spec.config.hiddenSize;
    const stride = paddedCols(width);
    const x = this.floats(this.program.work.offset("x"), targets.length * stride);
    for (const r of targets.keys()) {
      x.set(stream.subarray((first + r) * width, (first + r + 1) * width), r * stride);
    }
    this.inputs.writeTargets(targets.map((token, row) => ({ row, token })));
    await this.backend.run(what, this.signal);
  }

  private addScores(rows: number, sums: { divergence: number; surprise: number }): void {
    const { offset, bytes } = this.program.work.part("scores");
    const records = this.floats(offset, bytes / 4);
    for (let row = 0; row < rows; row++) {
      const { divergence, logProbability } = comparedScore(records, row);
      sums.divergence += divergence;
      sums.surprise -= logProbability;
    }
  }

  private logitRows(first: number, rows: number): Uint8Array {
    const start = this.program.logitsAt(first);
    return this.work.view(start, this.program.logitsAt(first + rows) - start);
  }

  private floats(offset: number, count: number): Float32Array {
    const view = this.work.view(offset, 4 * count);
    return new Float32Array(view.buffer, view.byteOffset, count);
  }

  /** Gives its memory back. */
  release(): void {
    for (const region of [this.weights, this.work]) this.backend.release(region);
  }
}
