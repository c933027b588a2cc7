import { at } from "../base/assert.ts";
import { alignUp } from "../base/bytes.ts";
import type { Isa } from "../isa/isa.ts";
import { paddedCols } from "../kernels/activations.ts";
import type { Blocking } from "../kernels/blocking.ts";
import { prepare, prepareName } from "../kernels/prepare.ts";
import { projection, projectionName } from "../kernels/projection.ts";
import { type KernelRecipe, KernelRecipes } from "../kernels/recipe.ts";
import { projectionParts, rowParts } from "../plan/parts.ts";
import { layoutOf, type ProjectionShape } from "../plan/shape.ts";
import { rowBytes } from "../quant/blocks.ts";
import type { Packing } from "../quant/packing.ts";
import {
  type Backend,
  type BackendRequest,
  type Program,
  REGION_ALIGNMENT,
  type Region,
  type Step,
} from "./backend.ts";
import { fillWeights, ProjectionBuffers, packingOf, specOf } from "./projection-buffers.ts";
import { type Calls, type Effort, median, timeInTurns } from "./stopwatch.ts";

/** A projection to time: y = W · x of this shape with this blocking, for so many tokens. */
export interface ProjectionCase {
  readonly shape: ProjectionShape;
  readonly blocking: Blocking;
  readonly tokens: number;
}

/** How long one call of a projection took. */
export interface ProjectionTiming {
  /** Median of the passes. */
  readonly seconds: number;
  /** Every pass, in order. */
  readonly passes: readonly number[];
  /** Bytes of the weights as the format defines them, per second, in 10⁹. */
  readonly gbs: number;
  /** 2 · rows · cols · tokens operations per second, in 10⁹. */
  readonly gops: number;
}

/** What projections are timed on. */
export interface TimerRequest {
  readonly open: (request: BackendRequest) => Promise<Backend>;
  readonly isa: Isa;
  readonly threads: number;
  readonly cases: readonly ProjectionCase[];
  readonly effort?: Effort | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Called after every pass of every case. */
export type OnPass = (done: number, total: number) => void;

/**
 * A pass of 10 ms is long beside what starting it takes (20 µs), short beside what neighbours on the machine do. 512 MB
 * of weights are larger than last-level caches.
 */
export const PROJECTION_EFFORT: Effort = { passMs: 10, passes: 5, bufferBytes: 2 ** 29 };

/** Calls in one program, at most: its table must not fill the caches. */
const MOST_CALLS = 256;
/** Copies of a matrix, at most, and the step between those that a program may start with: programs come back. */
const MOST_SLOTS = 1024;
const START_STEP = 64;
/** Step tables of one case: 16 programs of 256 calls of some 112 bytes, and as many shorter ones as there are passes. */
const TABLE_BYTES = 2 ** 20;

/**
 * Times projections as the engine runs them: generated kernels, a step table, parts that threads take, a barrier after
 * each call. Weights are cold: every call reads another copy of the matrix, and all copies together are larger than the
 * caches. They are random bits, which all cases share. Preparing the activations is not part of the time.
 */
export class ProjectionTimer {
  private constructor(
    private readonly backend: Backend,
    private readonly effort: Effort,
    private readonly weights: Region,
    private readonly buffers: ProjectionBuffers,
    private readonly memory: Region,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * Compiles the kernels of all cases, in one library.
   *
   * @throws MachineError when they do not compile, or memory is short
   * @throws AbortedError when the signal fires
   */
  static async create(request: TimerRequest): Promise<ProjectionTimer> {
    const { open, isa, threads, cases, effort = PROJECTION_EFFORT, signal } = request;
    const buffers = new ProjectionBuffers(cases, isa, threads);
    const largest = Math.max(...cases.map((c) => slotBytes(packingOf(c, isa))));
    const bytes = Math.max(effort.bufferBytes, largest) + REGION_ALIGNMENT;
    const capacity = bytes + buffers.bytes + TABLE_BYTES * cases.length;
    const backend = await open({ isa, threads, kernels: kernelsOf(cases, isa), capacity, signal });
    try {
      const weights = backend.allocate(bytes, "weights");
      fillWeights(weights);
      const memory = backend.allocate(buffers.bytes, "working");
      buffers.fill(memory, cases);
      const timer = new ProjectionTimer(backend, effort, weights, buffers, memory, signal);
      await timer.prepareInputs(cases);
      return timer;
    } catch (error) {
      await backend.dispose();
      throw error;
    }
  }

  /** Times cases, of those that the timer was made for, in turns. */
  async time(cases: readonly ProjectionCase[], onPass?: OnPass): Promise<ProjectionTiming[]> {
    const works = cases.map((c) => this.calls(c));
    const seconds = await timeInTurns(works, this.effort, onPass);
    return cases.map((c, i) => timing(c, at(seconds, i)));
  }

  /** Seconds that preparing the activations of each case takes: median of the passes. */
  async timePreparation(cases: readonly ProjectionCase[], onPass?: OnPass): Promise<number[]> {
    const works = cases.map((c) => this.repetition(1, () => this.preparation(c)));
    return (await timeInTurns(works, this.effort, onPass)).map(median);
  }

  dispose(): Promise<void> {
    return this.backend.dispose();
  }

  /** Fills the prepared rows of every case. */
  private async prepareInputs(cases: readonly ProjectionCase[]): Promise<void> {
    const { backend } = this;
    await backend.run(backend.prepare(cases.map((c) => this.preparation(c))), this.signal);
  }

  private preparation(c: ProjectionCase): Step {
    const { inputs, prepared, count } = this.addresses(c);
    const parts = rowParts(c.tokens, this.backend.threads);
    const kernel = prepareName(layoutOf(c.shape, this.backend.isa));
    return { kernel, arguments: [inputs, prepared, count], barrier: true, parts };
  }

  /** One call after the other of a case, each on the next copy of the weights: to be timed in turns with others. */
  calls(c: ProjectionCase): Calls {
    const { isa, threads } = this.backend;
    const pack = packingOf(c, isa);
    const kernel = projectionName(specOf(c));
    const { prepared, outputs, count, scratch } = this.addresses(c);
    const [blockTiles, accumulate] = [c.blocking.tb / c.blocking.tu, 0];
    const stride = 4 * paddedCols(c.shape.rows);
    const parts = projectionParts(pack, c.tokens, threads);
    const room = Math.floor((this.weights.bytes - REGION_ALIGNMENT) / slotBytes(pack));
    const slots = Math.min(room, MOST_SLOTS);
    return this.repetition(slots, (slot) => {
      const weights = this.weights.address + slot * slotBytes(pack);
      const values = [weights, prepared, outputs, stride, pack.tiles, count, blockTiles, accumulate];
      if (c.blocking.expand) values.push(scratch);
      return { kernel, arguments: values, barrier: true, parts };
    });
  }

  /** Runs `step` of slot after slot, around and around, going on about where the last run ended. */
  private repetition(slots: number, step: (slot: number) => Step): Calls {
    const programs = new Map<string, Program>();
    let next = 0;
    const run = async (count: number) => {
      const start = next;
      next = (slots < START_STEP ? start + count : alignUp(start + count, START_STEP)) % slots;
      const key = `${start} ${count}`;
      const steps = () => Array.from({ length: count }, (_, i) => step((start + i) % slots));
      const program = programs.get(key) ?? this.backend.prepare(steps());
      programs.set(key, program);
      await this.backend.run(program, this.signal);
    };
    return async (count) => {
      for (let left = count; left > 0; left -= MOST_CALLS) await run(Math.min(left, MOST_CALLS));
    };
  }

  private addresses(c: ProjectionCase): ReturnType<ProjectionBuffers["offsetsOf"]> {
    const { address } = this.memory;
    const { inputs, prepared, outputs, count, scratch } = this.buffers.offsetsOf(c);
    return {
      inputs: address + inputs,
      prepared: address + prepared,
      outputs: address + outputs,
      count: address + count,
      scratch: address + scratch,
    };
  }
}

function timing({ shape, tokens }: ProjectionCase, passes: readonly number[]): ProjectionTiming {
  const { format, rows, cols } = shape;
  const seconds = median(passes);
  return {
    seconds,
    passes,
    gbs: (rows * rowBytes(format, cols)) / seconds / 1e9,
    gops: (2 * rows * cols * tokens) / seconds / 1e9,
  };
}

/** Bytes from one copy of the weights to the next. */
function slotBytes({ totalBytes }: Packing): number {
  return alignUp(totalBytes, REGION_ALIGNMENT);
}

function kernelsOf(cases: readonly ProjectionCase[], isa: Isa): KernelRecipe[] {
  const kernels = new KernelRecipes();
  for (const c of cases) {
    const [spec, layout] = [specOf(c), layoutOf(c.shape, isa)];
    kernels.add(projectionName(spec), spec, () => projection(spec, isa));
    kernels.add(prepareName(layout), layout, () => prepare(layout, isa));
  }
  return kernels.values();
}
