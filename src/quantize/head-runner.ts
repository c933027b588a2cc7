import type { Backend, Program, Region } from "../engine/backend.ts";
import type { ModelProgram } from "../engine/model-program.ts";
import { StepInputs } from "../engine/step-inputs.ts";
import { comparedScore } from "../engine/token-score.ts";
import { loadWeights } from "../engine/weights.ts";
import type { ModelFile } from "../files/model-file.ts";
import { paddedCols } from "../kernels/activations.ts";
import type { ModelPart } from "../models/model.ts";
import type { Stream } from "./part-runner.ts";

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

  /** Kullback–Leibler divergence of each of the others from the base: the sum over their tokens, in nats. */
  async divergences(base: Stream, others: readonly Stream[]): Promise<number[]> {
    const { program } = this;
    const width = program.spec.config.hiddenSize;
    const most = program.comparedRows;
    const sums = others.map(() => 0);
    for (let first = 0; first < base.length / width; first += most) {
      const rows = Math.min(most, base.length / width - first);
      await this.run(this.logits, base, first, rows);
      this.logitRows(most, rows).set(this.logitRows(0, rows));
      for (const [i, other] of others.entries()) {
        await this.run(this.comparison, other, first, rows);
        sums[i]! += this.divergence(rows);
      }
    }
    return sums;
  }

  private async run(what: Program, stream: Stream, first: number, rows: number): Promise<void> {
    const width = this.program.spec.config.hiddenSize;
    const stride = paddedCols(width);
    const x = this.floats(this.program.work.offset("x"), rows * stride);
    for (let r = 0; r < rows; r++) {
      x.set(stream.subarray((first + r) * width, (first + r + 1) * width), r * stride);
    }
    this.inputs.writeTargets(Array.from({ length: rows }, (_, row) => ({ row, token: 0 })));
    await this.backend.run(what, this.signal);
  }

  private divergence(rows: number): number {
    const { offset, bytes } = this.program.work.part("scores");
    const records = this.floats(offset, bytes / 4);
    return Array.from({ length: rows }, (_, i) => comparedScore(records, i).divergence).reduce(
      (sum, value) => sum + value,
      0,
    );
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
