import type { Backend } from "../engine/backend.ts";
import { chooseBackend } from "../engine/choose.ts";
import { readAngles } from "../engine/load-model.ts";
import { ModelProgram } from "../engine/model-program.ts";
import { createNativeBackend } from "../engine/native.ts";
import { planMatrices } from "../engine/plan-matrices.ts";
import { packKernels } from "../engine/weights.ts";
import type { ModelFile } from "../files/model-file.ts";
import { findCompilers } from "../host/compilers.ts";
import type { Isa } from "../isa/isa.ts";
import { PAGE_TOKENS } from "../kernels/kv-cache.ts";
import { KernelRecipes } from "../kernels/recipe.ts";
import { layerMatrices, linears, type ModelPart, type ModelSpec } from "../models/model.ts";
import type { Machine } from "../plan/machine.ts";
import { formatNamed, type QuantizedFormat } from "../quant/formats.ts";
import type { Ordering } from "../solver/column-order.ts";
import { type FactoredHessian, factorHessian, solve } from "../solver/gptq.ts";
import { BackendSpace, productKernels } from "./backend-space.ts";
import { Hessians, type InputGroup } from "./hessians.ts";
import { PartRunner, type Stream } from "./part-runner.ts";
import { type QuantizedTensor, weightError, weightsOf } from "./quantized-tensor.ts";
import { WorkingTensors } from "./working-tensors.ts";

/** Rows of a step: as many as the engine takes at a time. */
const MAX_ROWS = 256;

export interface LayerSolverOptions {
  /** Format of each tensor that is quantized. */
  readonly formats: ReadonlyMap<string, QuantizedFormat>;
  readonly leastZero: number;
  readonly damp: number;
  readonly order: Ordering;
  /** Quantize the matrices of a layer one after the other, each with the inputs that those before it leave. */
  readonly trueSequential: boolean;
  /** Token ids of every sample, all of one length. */
  readonly samples: readonly (readonly number[])[];
  readonly threads?: number | undefined;
  /** Called with the part of all work that is done. */
  readonly onProgress?: ((done: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A part of the model, compiled. */
interface Compiled {
  readonly program: ModelProgram<ModelPart>;
  readonly file: ModelFile;
}

/**
 * Quantizes a model layer by layer with GPTQ: each layer sees the calibration text as the quantized layers before it
 * leave it. In memory are one layer, the Hessians of its inputs, and the residual stream of all samples.
 */
export class LayerSolver {
  private readonly space: BackendSpace;

  private constructor(
    private readonly backend: Backend,
    private readonly tensors: WorkingTensors,
    private readonly embedding: Compiled,
    private readonly layers: readonly Compiled[],
    private readonly options: LayerSolverOptions,
  ) {
    this.space = new BackendSpace(backend, options.signal);
  }

  /**
   * Plans and compiles. Throws `MachineError` without a C compiler, and what planning throws.
   */
  static async create(
    file: ModelFile,
    spec: ModelSpec,
    machine: Machine,
    options: LayerSolverOptions,
  ): Promise<LayerSolver> {
    const { isa, compiler } = chooseBackend(machine, await findCompilers(), { backend: "native" });
    const threads = options.threads ?? machine.threads;
    const matrices = (part: ModelPart) => linears(part).map(({ tensor }) => tensor);
    const { config } = spec;
    const tensors = new WorkingTensors(file, new Set(matrices({ config, layers: spec.layers })));
    const context = options.samples[0]?.length ?? 1;
    const compile = compilerOf(machine, isa, threads, context);
    const embedding = { program: compile({ config, embedding: spec.embedding, layers: [] }, file), file };
    const layers = spec.layers.map((layer) => ({
      program: compile({ config, layers: [layer] }, tensors),
      file: tensors,
    }));
    const kernels = new KernelRecipes();
    for (const { program } of [embedding, ...layers]) {
      for (const recipe of [
        ...program.kernels.values(),
        ...packKernels(program.matrices.values(), isa),
        ...productKernels(isa),
      ]) {
        kernels.add(recipe.name, recipe.spec, recipe.generate);
      }
    }
    const request = { isa, threads, kernels: kernels.values(), capacity: 0, signal: options.signal };
    const backend = await createNativeBackend(request, compiler as NonNullable<typeof compiler>);
    return new LayerSolver(backend, tensors, embedding, layers, options);
  }

  /** The quantized tensors of each layer in turn. */
  async *run(): AsyncGenerator<ReadonlyMap<string, QuantizedTensor>, void, undefined> {
    const { samples, onProgress } = this.options;
    const streams = await this.embed();
    for (const [n, layer] of this.layers.entries()) {
      const progress = (part: number) => onProgress?.((n + part) / this.layers.length);
      const runner = await this.runner(layer);
      try {
        const quantized = await this.solveLayer(layer, runner, streams, progress);
        // What later layers see has passed this one as it is now.
        if (n < this.layers.length - 1) {
          await runner.load();
          runner.observe(undefined);
          for (const [s, sample] of samples.entries()) await runner.run(sample, streams[s] as Stream);
        }
        yield quantized;
      } finally {
        runner.release();
        this.tensors.drop(linears(layer.program.spec).map(({ tensor }) => tensor));
      }
      progress(1);
    }
  }

  private async runner({ program, file }: Compiled): Promise<PartRunner> {
    const { spec, limits } = program;
    const angles = await readAngles(file, spec, limits.contextLength);
    return new PartRunner(program, this.backend, file, angles, this.options.signal);
  }

  private async embed(): Promise<Stream[]> {
    const runner = await this.runner(this.embedding);
    const { hiddenSize } = this.embedding.program.spec.config;
    try {
      await runner.load();
      runner.observe(undefined);
      const streams: Stream[] = [];
      for (const sample of this.options.samples) {
        const stream = new Float32Array(sample.length * hiddenSize);
        await runner.run(sample, stream);
        streams.push(stream);
      }
      return streams;
    } finally {
      runner.release();
    }
  }

  /** Quantizes the matrices of a layer, all at once or, true to their sequence, input by input. */
  private async solveLayer(
    { program }: Compiled,
    runner: PartRunner,
    streams: readonly Stream[],
    progress: (part: number) => void,
  ): Promise<ReadonlyMap<string, QuantizedTensor>> {
    const { formats, trueSequential } = this.options;
    const names = linears(program.spec).map(({ tensor }) => tensor);
    const wanted = names.filter((name) => formats.has(name));
    const rounds = trueSequential ? sequenceOf(program.spec, wanted) : [wanted];
    const quantized = new Map<string, QuantizedTensor>();
    for (const [i, round] of rounds.entries()) {
      const start = i / rounds.length;
      const share = (part: number) => progress(start + part / rounds.length);
      await this.solveRound(new Set(round), runner, streams, quantized, share);
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
    const { space } = this;
    const hessians = new Hessians(space, this.backend, wanted);
    try {
      await runner.load();
      runner.observe(hessians.observer);
      for (const [s, sample] of samples.entries()) {
        // The stream itself stays: it is also what the quantized layer will see.
        await runner.run(sample, (streams[s] as Stream).slice());
        progress((0.5 * (s + 1)) / samples.length);
      }
      for (const [i, group] of hessians.groups.entries()) {
        await this.solveGroup(group, space, quantized);
        progress(0.5 + (0.5 * (i + 1)) / hessians.groups.length);
      }
    } finally {
      hessians.release();
    }
  }

  private async solveGroup(
    { tensors, hessian }: InputGroup,
    space: BackendSpace,
    quantized: Map<string, QuantizedTensor>,
  ): Promise<void> {
    const { formats, samples, damp, order, leastZero } = this.options;
    const tokens = samples.reduce((sum, sample) => sum + sample.length, 0);
    const known = new Map<string, FactoredHessian>();
    for (const name of tensors) {
      const format = formats.get(name) as QuantizedFormat;
      const options = { format, damp, order, leastZero };
      const factored = known.get(format.name) ?? (await factorHessian(hessian, options, space));
      known.set(format.name, factored);
      const { rows, cols, weights } = await this.tensors.weights(name);
      const solution = await solve(weights, rows, factored, options, space);
      const now = weightsOf(solution);
      this.tensors.replace(name, now);
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

  /** Frees its memory and threads. */
  dispose(): Promise<void> {
    return this.backend.dispose();
  }
}

/** Compiles parts of a model for texts of `context` tokens: activations and keys in f32, as the reference computes. */
function compilerOf(machine: Machine, isa: Isa, threads: number, context: number) {
  return (part: ModelPart, file: ModelFile): ModelProgram<ModelPart> => {
    const { kvHeads, headDim } = part.config;
    const matrices = planMatrices(part, file, machine, isa, {
      threads,
      prefillTokens: MAX_ROWS,
      activations: "f32",
      quantize: formatNamed("F32"),
    });
    const kv = { kvHeads, headDim, element: "f32", pageTokens: PAGE_TOKENS } as const;
    const limits = { maxRows: MAX_ROWS, maxOutputs: 1, contextLength: context, sequences: 1 };
    return new ModelProgram(part, matrices, kv, isa, threads, limits);
  };
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
