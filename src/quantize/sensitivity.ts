/** What every way to quantize every matrix costs the model. */

import { linears } from "../models/model.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
import { factorHessian, type SolverOptions, solve } from "../solver/gptq.ts";
import type { Matrix } from "../solver/matrix.ts";
import type { Choice, Sensitivities } from "./budget.ts";
import { evenly } from "./calibration.ts";
import { Hessians, type InputGroup } from "./hessians.ts";
import type { ModelParts } from "./model-parts.ts";
import type { PartRunner, Stream } from "./part-runner.ts";
import { weightsOf } from "./quantized-tensor.ts";
import type { Rows } from "./working-tensors.ts";

/** Rows of a matrix whose errors, one format's beside another's, stand for those of all: a row is rounded on its own. */
const SAMPLED_ROWS = 32;
/** Texts on which a model with one rounded matrix is compared with the model as it is, and their tokens, at most. */
const PROBE_TEXTS = 8;
const PROBE_TOKENS = 256;

export interface SensitivityOptions extends Omit<SolverOptions, "format"> {
  /** Whether weights are rounded to nearest, or make up for each other. */
  readonly method: "rtn" | "gptq";
  /** Formats that each tensor may get. */
  readonly choices: readonly Choice[];
  /** The format in which each tensor is tried on the whole model. */
  readonly probe: ReadonlyMap<string, QuantizedFormat>;
  /** Token ids of every sample, all of one length. */
  readonly samples: readonly (readonly number[])[];
  /** Called with the part of all work that is done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** A model in which one matrix is rounded, on its way through the layers. */
interface Probe {
  readonly tensor: string;
  /**
   * Of every candidate, and of the format that is tried: the square error of some of the matrix's outputs, summed over the
   * calibration text.
   */
  readonly errors: readonly number[];
  readonly error: number;
  /** The texts' residual streams. */
  readonly streams: readonly Stream[];
}

/** What a probe is made of. */
interface Trial {
  readonly tensor: string;
  readonly errors: number[];
  error: number;
  /** The weights in the format that is tried. */
  rounded: Float32Array;
}

/**
 * Measures what every candidate of every tensor costs: the divergence of the predictions from those of the model as it
 * is, in nats a token, if no other tensor is rounded.
 *
 * The square error of a matrix's outputs is found for every candidate, by GPTQ on a sample of its rows. What such an error
 * means for the predictions is measured once: a whole matrix is rounded, and what comes out then passes the layers behind
 * it and the output head. As the divergence is a quadratic form of small errors, that of other candidates is in proportion.
 *
 * In memory are one layer, the Hessians of its inputs, the residual streams of all samples, and those of some short texts
 * for every tensor. A layer is loaded once: all probes that have come so far pass it together.
 */
export class SensitivityPass {
  private readonly texts: readonly (readonly number[])[];
  private readonly probes: Probe[] = [];
  private readonly candidates: ReadonlyMap<string, Choice["options"]>;
  /** Tokens that pass a layer, summed over layers: in all, and so far. */
  private readonly work: number;
  private done = 0;

  constructor(
    private readonly parts: ModelParts,
    private readonly options: SensitivityOptions,
  ) {
    this.candidates = new Map(options.choices.map((choice) => [choice.tensor, choice.options]));
    this.texts = evenly(options.samples, PROBE_TEXTS).map((sample) => sample.slice(0, PROBE_TOKENS));
    this.work = this.countWork();
  }

  /** The loss of every candidate, by tensor. */
  async run(): Promise<Sensitivities> {
    const { parts, texts } = this;
    const { samples } = this.options;
    const streams = await parts.embed(samples);
    const base = await parts.embed(texts);
    for (let n = 0; n < parts.layerCount; n++) {
      const runner = await parts.runner(n);
      try {
        await this.passLayer(n, runner, streams, base);
      } finally {
        runner.release();
        parts.drop(n);
      }
    }
    return this.losses(base);
  }

  /** Samples and texts pass every layer, a probe those from its own on. */
  private countWork(): number {
    const { samples } = this.options;
    const { layerCount } = this.parts;
    const probed = Array.from({ length: layerCount }, (_, n) => this.wanted(n).length * (layerCount - n));
    const probes = probed.reduce((sum, count) => sum + count, 0);
    return layerCount * tokensOf(samples) + (layerCount + probes) * tokensOf(this.texts);
  }

  /** Tensors of layer `n` whose format is to be chosen. */
  private wanted(n: number): string[] {
    const tensors = linears(this.parts.layer(n)).map(({ tensor }) => tensor);
    return [...new Set(tensors)].filter((tensor) => this.candidates.has(tensor));
  }

  /** Adds probes of the matrices of a layer, and takes all streams to the next one. */
  private async passLayer(
    n: number,
    runner: PartRunner,
    streams: readonly Stream[],
    base: readonly Stream[],
  ): Promise<void> {
    const { parts, texts } = this;
    const { samples, method } = this.options;
    const hessians = new Hessians(parts.space, parts.backend, new Set(this.wanted(n)));
    try {
      await runner.load();
      runner.observe(hessians.observer);
      await this.runTexts(runner, samples, streams);
      runner.observe(undefined);
      for (const probe of this.probes) await this.runTexts(runner, texts, probe.streams);
      for (const group of hessians.groups) {
        if (method === "rtn") keepDiagonal(group.hessian);
        await this.probeGroup(group, runner, base);
      }
      await runner.load();
      await this.runTexts(runner, texts, base);
    } finally {
      hessians.release();
    }
  }

  private async runTexts(
    runner: PartRunner,
    texts: readonly (readonly number[])[],
    streams: readonly Stream[],
  ): Promise<void> {
    for (const [i, text] of texts.entries()) {
      await runner.run(text, streams[i] as Stream);
      this.done += text.length;
      this.options.onProgress?.(this.done / this.work);
    }
  }

  /** Adds probes of the matrices that multiply the same inputs. */
  private async probeGroup(group: InputGroup, runner: PartRunner, base: readonly Stream[]): Promise<void> {
    const { tensors: working } = this.parts;
    const trials = await this.roundGroup(group);
    for (const { tensor, errors, error, rounded } of trials) {
      const { weights } = await working.weights(tensor);
      working.replace(tensor, rounded);
      await runner.load();
      const streams = base.map((stream) => stream.slice());
      await this.runTexts(runner, this.texts, streams);
      working.replace(tensor, weights);
      this.probes.push({ tensor, errors, error, streams });
    }
  }

  /** Rounds some rows of every matrix in all formats, and the whole of it in one. The factors of H are made one by one. */
  private async roundGroup({ tensors, hessian }: InputGroup): Promise<Trial[]> {
    const { probe, damp, order, leastZero } = this.options;
    const { space, tensors: working } = this.parts;
    const trials = tensors.map(
      (tensor): Trial => ({ tensor, errors: [], error: 0, rounded: new Float32Array() }),
    );
    const formats = tensors.flatMap((tensor) => this.optionsOf(tensor).map(({ format }) => format));
    for (const shape of new Set(formats.map(shapeOf))) {
      const [first] = formats.filter((one) => shapeOf(one) === shape) as [QuantizedFormat];
      const settings = { damp, order, ...(leastZero === undefined ? {} : { leastZero }) };
      const factor = await factorHessian(hessian, { ...settings, format: first }, space);
      const round = ({ weights, rows }: Rows, format: QuantizedFormat) =>
        solve(weights, rows, factor, { ...settings, format }, space);
      for (const trial of trials) {
        const all = await working.weights(trial.tensor);
        const some = sampleRows(all);
        for (const [o, { format }] of this.optionsOf(trial.tensor).entries()) {
          if (shapeOf(format) !== shape) continue;
          const { error } = await round(some, format);
          trial.errors[o] = error;
          if (format !== probe.get(trial.tensor)) continue;
          trial.error = error;
          trial.rounded = weightsOf(await round(all, format));
        }
      }
      space.release(factor.factor);
    }
    return trials;
  }

  private optionsOf(tensor: string): Choice["options"] {
    return this.candidates.get(tensor) ?? [];
  }

  /** What the output head makes of the probes. */
  private async losses(base: readonly Stream[]): Promise<Sensitivities> {
    const { texts } = this;
    const sums = this.probes.map(() => 0);
    const head = await this.parts.headRunner();
    try {
      for (const [i, text] of texts.entries()) {
        const others = this.probes.map(({ streams }) => streams[i] as Stream);
        const found = await head.compare(text, base[i] as Stream, others);
        found.forEach(({ divergence }, p) => {
          sums[p]! += divergence;
        });
      }
    } finally {
      head.release();
    }
    const predicted = Math.max(1, tokensOf(texts) - texts.length);
    const lossesOf = ({ tensor, errors, error }: Probe, p: number) => {
      const scale = error > 0 ? sums[p]! / predicted / error : 0;
      return [tensor, errors.map((one) => one * scale)] as const;
    };
    return new Map(this.probes.map(lossesOf));
  }
}

function tokensOf(texts: readonly (readonly number[])[]): number {
  return texts.reduce((sum, { length }) => sum + length, 0);
}

/** With no products of different inputs, GPTQ has nothing to make up for, and rounds to nearest. */
function keepDiagonal({ values, rows, stride }: Matrix): void {
  for (let i = 0; i < rows; i++) {
    const kept = values[i * stride + i]!;
    values.fill(0, i * stride, (i + 1) * stride);
    values[i * stride + i] = kept;
  }
}

/** Formats with groups and blocks of the same sizes take columns in the same order. */
function shapeOf({ group, block }: QuantizedFormat): string {
  return `${group} ${block}`;
}

/** Rows that are evenly spaced over a matrix. */
function sampleRows({ rows, cols, weights }: Rows): Rows {
  const count = Math.min(rows, SAMPLED_ROWS);
  const some = new Float32Array(count * cols);
  for (let i = 0; i < count; i++) {
    const row = Math.floor((i * rows) / count);
    some.set(weights.subarray(row * cols, (row + 1) * cols), i * cols);
  }
  return { rows: count, cols, weights: some };
}
