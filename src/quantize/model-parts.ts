import { assert } from "../base/assert.ts";
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
import { linears, type ModelPart, type ModelSpec } from "../models/model.ts";
import type { Machine } from "../plan/machine.ts";
import { formatNamed } from "../quant/formats.ts";
import { BackendSpace, productKernels } from "./backend-space.ts";
import { HeadRunner } from "./head-runner.ts";
import { PartRunner, type Stream } from "./part-runner.ts";
import { WorkingTensors } from "./working-tensors.ts";

/** Rows of a step: as many as the engine takes at a time. */
const MAX_ROWS = 256;
/** Memory for logits of one step. */
const LOGIT_BYTES = 16 * 2 ** 20;

export interface PartsOptions {
  /** Tokens of a text, at most. */
  readonly context: number;
  /** Whether the output head is wanted. */
  readonly head: boolean;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Compiled = ModelProgram<ModelPart>;

/**
 * A model compiled in parts that run one at a time, on the residual streams of whole texts: the embedding, every layer,
 * the output head. Only the part that runs has its weights in memory.
 */
export class ModelParts {
  readonly space: BackendSpace;

  private constructor(
    readonly backend: Backend,
    /** The matrices of layers are in memory while they are worked on, and can be replaced. */
    readonly tensors: WorkingTensors,
    private readonly file: ModelFile,
    private readonly embedding: Compiled,
    private readonly layers: readonly Compiled[],
    private readonly head: Compiled | undefined,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.space = new BackendSpace(backend, signal);
  }

  /** Plans and compiles. Throws `MachineError` without a C compiler, and what planning throws. */
  static async create(
    file: ModelFile,
    spec: ModelSpec,
    machine: Machine,
    { context, head: wantsHead, threads = machine.threads, signal }: PartsOptions,
  ): Promise<ModelParts> {
    const { isa, compiler } = chooseBackend(machine, await findCompilers(), { backend: "native" });
    const { config } = spec;
    const layers = spec.layers.map((layer): ModelPart => ({ config, layers: [layer] }));
    const names = layers.flatMap((layer) => linears(layer).map(({ tensor }) => tensor));
    const tensors = new WorkingTensors(file, new Set(names));
    const compile = compilerOf(machine, isa, threads, context);
    const embedding = compile({ config, embedding: spec.embedding, layers: [] }, file);
    const compiled = layers.map((layer) => compile(layer, tensors));
    const head = wantsHead ? compile({ config, layers: [], output: spec.output }, file) : undefined;
    const kernels = new KernelRecipes();
    for (const program of [embedding, ...compiled, ...(head === undefined ? [] : [head])]) {
      for (const recipe of [
        ...program.kernels.values(),
        ...packKernels(program.matrices.values(), isa),
        ...productKernels(isa),
      ]) {
        kernels.add(recipe.name, recipe.spec, recipe.generate);
      }
    }
    const request = { isa, threads, kernels: kernels.values(), capacity: 0, signal };
    const backend = await createNativeBackend(request, compiler as NonNullable<typeof compiler>);
    return new ModelParts(backend, tensors, file, embedding, compiled, head, signal);
  }

  get layerCount(): number {
    return this.layers.length;
  }

  /** Layer `n` as a part of a model. */
  layer(n: number): ModelPart {
    return this.program(n).spec;
  }

  /** Memory for layer `n`, whose weights are not read yet. */
  async runner(n: number): Promise<PartRunner> {
    return this.runnerOf(this.program(n), this.tensors);
  }

  /** Forgets the weights of layer `n`. */
  drop(n: number): void {
    this.tensors.drop(linears(this.layer(n)).map(({ tensor }) => tensor));
  }

  /** The streams with which texts enter the first layer. */
  async embed(samples: readonly (readonly number[])[]): Promise<Stream[]> {
    const runner = await this.runnerOf(this.embedding, this.file);
    const { hiddenSize } = this.embedding.spec.config;
    try {
      await runner.load();
      runner.observe(undefined);
      const streams: Stream[] = [];
      for (const sample of samples) {
        const stream = new Float32Array(sample.length * hiddenSize);
        await runner.run(sample, stream);
        streams.push(stream);
      }
      return streams;
    } finally {
      runner.release();
    }
  }

  /** Memory for the output head, with its weights. */
  headRunner(): Promise<HeadRunner> {
    assert(this.head !== undefined, "a model without its head");
    return HeadRunner.load(this.head, this.backend, this.file, this.signal);
  }

  private program(n: number): Compiled {
    return this.layers[n] as Compiled;
  }

  private async runnerOf(program: Compiled, file: ModelFile): Promise<PartRunner> {
    const angles = await readAngles(file, program.spec, program.limits.contextLength);
    return new PartRunner(program, this.backend, file, angles, this.signal);
  }

  /** Frees its memory and threads. */
  dispose(): Promise<void> {
    return this.backend.dispose();
  }
}

/** Compiles parts of a model for texts of `context` tokens: activations and keys in f32, as the reference computes. */
function compilerOf(machine: Machine, isa: Isa, threads: number, context: number) {
  return (part: ModelPart, file: ModelFile): Compiled => {
    const { kvHeads, headDim, vocabularySize } = part.config;
    const matrices = planMatrices(part, file, machine, isa, {
      threads,
      prefillTokens: MAX_ROWS,
      activations: "f32",
      quantize: formatNamed("F32"),
    });
    const kv = { kvHeads, headDim, element: "f32", pageTokens: PAGE_TOKENS } as const;
    const outputs = Math.max(2, Math.min(MAX_ROWS, Math.floor(LOGIT_BYTES / (4 * vocabularySize))));
    const limits = {
      maxRows: MAX_ROWS,
      maxOutputs: part.output === undefined ? 1 : outputs,
      contextLength: context,
      sequences: 1,
    };
    return new ModelProgram(part, matrices, kv, isa, threads, limits);
  };
}
