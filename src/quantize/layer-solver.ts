import { layerMatrices, linears, type ModelPart } from "../models/model.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
import type { Ordering } from "../solver/column-order.ts";
import { type FactoredHessian, factorHessian, solve } from "../solver/gptq.ts";
import { Hessians, type InputGroup } from "./hessians.ts";
import type { ModelParts } from "./model-parts.ts";
import { roundToNearest } from "./nearest.ts";
import type { PartRunner, Stream } from "./part-runner.ts";
import { type QuantizedTensor, weightError, weightsOf } from "./quantized-tensor.ts";

export interface LayerSolverOptions {
  /** Whether weights are rounded to nearest, or make up for each other. */
  readonly method: "rtn" | "gptq";
  /** Format of each tensor that is quantized. */
  readonly formats: ReadonlyMap<string, QuantizedFormat>;
  readonly leastZero: number;
  readonly damp: number;
  readonly order: Ordering;
  /** Quantize the matrices of a layer one after the other, each with the inputs that those before it leave. */
  readonly trueSequential: boolean;
  /** Token ids of the texts that `gptq` adapts weights to. */
  readonly samples: readonly (readonly number[])[];
  /** Token ids of texts that pass the quantized layers, too. */
  readonly texts: readonly (readonly number[])[];
  /** Called with the part of all work that is done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/**
 * Quantizes a model layer by layer: each layer sees the calibration text as the quantized layers before it leave it. In
 * memory are one layer, the Hessians of its inputs, and the residual streams of all samples and texts.
 */
export class LayerSolver {
  /** What the layers so far made of the texts. */
  textStreams: readonly Stream[] = [];

  constructor(
    private readonly parts: ModelParts,
    private readonly options: LayerSolverOptions,
  ) {}

  /** The quantized tensors of each layer in turn. */
  async *run(): AsyncGenerator<ReadonlyMap<string, QuantizedTensor>, void, undefined> {
    const { samples, texts, onProgress } = this.options;
    const { parts } = this;
    const streams = await parts.embed(samples);
    this.textStreams = await parts.embed(texts);
    for (let n = 0; n < parts.layerCount; n++) {
      const progress = (part: number) => onProgress?.((n + part) / parts.layerCount);
      const runner = await parts.runner(n);
      try {
        const quantized = await this.solveLayer(parts.layer(n), runner, streams, progress);
        // What later layers see has passed this one as it is now.
        const later = n < parts.layerCount - 1 ? samples : [];
        if (later.length + texts.length > 0) {
          await runner.load();
          runner.observe(undefined);
          for (const [s, sample] of later.entries()) await runner.run(sample, streams[s] as Stream);
          for (const [t, text] of texts.entries()) await runner.run(text, this.textStreams[t] as Stream);
        }
        yield quantized;
      } finally {
        runner.release();
        parts.drop(n);
      }
      progress(1);
    }
  }

  /** Quantizes all layers; what they are is not wanted, but what texts become. */
  async finish(): Promise<void> {
    for await (const _ of this.run());
  }

  /** Quantizes the matrices of a layer, all at once or, true to their sequence, input by input. */
  private async solveLayer(
    layer: ModelPart,
    runner: PartRunner,
    streams: readonly Stream[],
    progress: (part: number) => void,
  ): Promise<ReadonlyMap<string, QuantizedTensor>> {
    const { formats, method, trueSequential } = this.options;
    const names = linears(layer).map(({ tensor }) => tensor);
    const wanted = [...new Set(names)].filter((name) => formats.has(name));
    if (method === "rtn") return this.roundLayer(wanted);
    const rounds = trueSequential ? sequenceOf(layer, wanted) : [wanted];
    const quantized = new Map<string, QuantizedTensor>();
    for (const [i, round] of rounds.entries()) {
      const start = i / rounds.length;
      const share = (part: number) => progress(start + part / rounds.length);
      await this.solveRound(new Set(round), runner, streams, quantized, share);
    }
    return quantized;
  }

  private async roundLayer(wanted: readonly string[]): Promise<ReadonlyMap<string, QuantizedTensor>> {
    const { formats, leastZero } = this.options;
    const quantized = new Map<string, QuantizedTensor>();
    for (const name of wanted) {
      const weights = await this.parts.tensors.weights(name);
      const tensor = roundToNearest(name, weights, formats.get(name) as QuantizedFormat, leastZero);
      this.parts.tensors.replace(name, weightsOf(tensor));
      quantized.set(name, tensor);
    }
    return quantized;
  }

  private async solveRound(
    wanted: ReadonlySet<string>,
    runner: PartRunner,
    streams: readonly Stream[],
    quantized: Map<string, QuantizedTensor>,
    progress: (part: number) => void,
  ): Promise<void> {
    const { samples } = this.options;
    const { space, backend } = this.parts;
    const hessians = new Hessians(space, backend, wanted);
    try {
      await runner.load();
      runner.observe(hessians.observer);
      for (const [s, sample] of samples.entries()) {
        // The stream itself stays: it is also what the quantized layer will see.
        await runner.run(sample, (streams[s] as Stream).slice());
        progress((0.5 * (s + 1)) / samples.length);
      }
      for (const [i, group] of hessians.groups.entries()) {
        await this.solveGroup(group, quantized);
        progress(0.5 + (0.5 * (i + 1)) / hessians.groups.length);
      }
    } finally {
      hessians.release();
    }
  }

  private async solveGroup(
    { tensors, hessian }: InputGroup,
    quantized: Map<string, QuantizedTensor>,
  ): Promise<void> {
    const { formats, samples, damp, order, leastZero } = this.options;
    const { space } = this.parts;
    const tokens = samples.reduce((sum, sample) => sum + sample.length, 0);
    const known = new Map<string, FactoredHessian>();
    for (const name of tensors) {
      const format = formats.get(name) as QuantizedFormat;
      const options = { format, damp, order, leastZero };
      const factored = known.get(format.name) ?? (await factorHessian(hessian, options, space));
      known.set(format.name, factored);
      const { rows, cols, weights } = await this.parts.tensors.weights(name);
      const solution = await solve(weights, rows, factored, options, space);
      const now = weightsOf(solution);
      this.parts.tensors.replace(name, now);
      const record = {
        tensor: name,
        rows,
        cols,
        bits: format.bits,
        format: format.name,
        method: "gptq",
        weightError: weightError(weights, now),
        outputError: solution.error / tokens / rows,
        damp: solution.damp,
      } as const;
      quantized.set(name, { matrix: solution.matrix, order: solution.order, record });
    }
    for (const { factor } of known.values()) space.release(factor);
  }
}

/** Tensors of a layer that share an input, in the order in which they are used. */
function sequenceOf({ layers }: ModelPart, wanted: readonly string[]): string[][] {
  const stages = layers.flatMap((layer) => {
    const names = new Map(layerMatrices(layer).map(([role, linear]) => [role, linear.tensor]));
    return [["q", "k", "v"], ["o"], ["gate", "up"], ["down"]].map((roles) =>
      roles.flatMap((role) => names.get(role as "q") ?? []),
    );
  });
  return stages
    .map((stage) => [...new Set(stage)].filter((name) => wanted.includes(name)))
    .filter((stage) => stage.length > 0);
}
