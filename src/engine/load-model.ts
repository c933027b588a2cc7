import { FileFormatError, MachineError, UsageError } from "../base/errors.ts";
import type { ModelFile } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { findCompilers } from "../host/compilers.ts";
import { type ModelFiles, openModelFiles } from "../host/model-files.ts";
import { loadPlans, savePlans } from "../host/plans.ts";
import { ISAS } from "../isa/index.ts";
import type { Isa } from "../isa/isa.ts";
import type { ElementType } from "../kernels/elements.ts";
import { PAGE_TOKENS } from "../kernels/kv-cache.ts";
import { modelSpec } from "../models/index.ts";
import { type ModelPart, type ModelSpec, ropes } from "../models/model.ts";
import { type RopeAngles, ropeAngles, ropeFactors } from "../models/rope.ts";
import type { Machine } from "../plan/machine.ts";
import { type Tuning, unknownTo } from "../plan/tuning.ts";
import { FORMATS, formatNamed } from "../quant/formats.ts";
import { canQuantize } from "../quant/quantizers.ts";
import type { Backend, BackendKind } from "./backend.ts";
import { type BackendChoice, chooseBackend } from "./choose.ts";
import { Engine } from "./engine.ts";
import { ModelProgram } from "./model-program.ts";
import { opener } from "./open-backend.ts";
import { type PackedPolicy, placeWeights } from "./place-weights.ts";
import { planMatrices, tuningOf } from "./plan-matrices.ts";
import { packKernels, readVector, stagingBytes } from "./weights.ts";

/** How a model is to be run. Everything has a default. */
export interface EngineOptions {
  /** Default: `native` if a C compiler works here, else `wasm`. */
  readonly backend?: BackendKind | undefined;
  /** Instruction set: `avx512-vnni`, `avx2` (native) or `wasm-simd128`. Default: the best that the CPU has. */
  readonly isa?: string | undefined;
  /** Default: the threads that this process may really use (cores, affinity, cgroup quota). */
  readonly threads?: number | undefined;
  /** Positions of a text, at most; memory for the KV cache grows with it. Default: as trained, at most 4,096. */
  readonly contextLength?: number | undefined;
  /** `int8` (default) quantizes activations; `f32` is slower and exact up to rounding. */
  readonly activations?: "int8" | "f32" | undefined;
  /** Element type of the KV cache. Default `f16`; `q8_0` (8.5 bits) is half as large, and nearly as exact. */
  readonly kv?: ElementType | undefined;
  /**
   * Where packed weights live. `arena`: in memory of this process, on huge pages. `mapped`: in a file in the cache, as
   * large as the model, which starts map at once and processes share; native backend only. `auto` (default): in an arena,
   * of which a model of 64 MiB or more leaves such a file in the cache while it runs, if there is plenty of space; later
   * starts map that, and move it to an arena while they run.
   */
  readonly placement?: "auto" | "arena" | "mapped" | undefined;
  /** Format to quantize float weights to on load, such as `8bit-g32` or `Q4_0`. */
  readonly quantize?: string | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with a line that a user should see: which backend runs, and why another one does not. */
  readonly onNotice?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What loading is at: bytes of weights done, of all. */
export interface Progress {
  readonly stage: "weights";
  readonly done: number;
  readonly total: number;
}

/** A model and where its weights are read from. */
export interface OpenModel extends ModelFiles {
  readonly spec: ModelSpec;
}

/**
 * Rows of a prefill step: enough to use every weight often, few enough that a step, and the longest part of it that
 * cannot be stopped, is short. WebAssembly on one thread is some ten times slower than native code.
 */
export const MAX_ROWS: Readonly<Record<BackendKind, number>> = { native: 256, wasm: 64, interpreter: 256 };
/** Memory for logits of one step. */
const LOGIT_BYTES = 16 * 2 ** 20;
/** A row and the one that it is compared with. */
const LEAST_OUTPUTS = 2;
const DEFAULT_CONTEXT = 4096;
/** Step tables of weight packing: one small program per part. */
const PACK_TABLE_BYTES = 4 * 2 ** 20;

/** What the options that are names may be. */
const CHOICES = {
  backend: ["native", "wasm", "interpreter"],
  isa: ISAS.map(({ name }) => name),
  activations: ["int8", "f32"],
  kv: ["f32", "f16", "q8_0"],
  placement: ["auto", "arena", "mapped"],
} as const;

/** The most that the options that are counts may be. */
const MOST = { threads: 1024, contextLength: 2 ** 24 } as const;

/** Throws `UsageError` for an option out of its range: callers in plain JavaScript may pass anything. */
export function checkOptions(options: EngineOptions): void {
  const check = (name: keyof EngineOptions, wanted: string, right: (value: unknown) => boolean) => {
    const value: unknown = options[name];
    if (value === undefined || right(value)) return;
    const shown =
      typeof value === "string" ? quoted(value) : typeof value === "number" ? value : typeof value;
    throw new UsageError(`${name} must be ${wanted}, not ${shown}`);
  };
  const names = Object.keys(CHOICES) as (keyof typeof CHOICES)[];
  for (const name of names) {
    const choices: readonly unknown[] = CHOICES[name];
    check(name, `one of ${choices.join(", ")}`, (value) => choices.includes(value));
  }
  const counts = Object.keys(MOST) as (keyof typeof MOST)[];
  for (const name of counts) {
    const right = (value: unknown) =>
      Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MOST[name];
    check(name, `a whole number from 1 to ${MOST[name]}`, right);
  }
  const formats = [...FORMATS.values()].filter(canQuantize).map(({ name }) => name);
  const known = (value: unknown) =>
    typeof value === "string" && formats.some((name) => name.toLowerCase() === value.toLowerCase());
  check("quantize", `one of ${formats.join(", ")}`, known);
}

/** Opens a model's files and reads their headers. Throws typed errors for files that are not what they should be. */
export async function openModel(path: string, onNotice?: EngineOptions["onNotice"]): Promise<OpenModel> {
  const files = await openModelFiles(path, onNotice);
  try {
    return { ...files, spec: modelSpec(files.file) };
  } catch (error) {
    await files.close();
    throw error;
  }
}

/**
 * Plans, generates, compiles and loads: the file becomes an engine that runs steps. Where native code was not asked for
 * and cannot be built, wasm takes its place, with a notice that says why.
 */
export async function loadEngine(
  model: OpenModel,
  machine: Machine,
  options: EngineOptions = {},
  packed?: PackedPolicy,
): Promise<Engine> {
  checkOptions(options);
  const angles = await readAngles(model.file, model.spec, contextLengthOf(model.spec, options));
  const choice = chooseBackend(machine, await findCompilers(), options);
  const asked = options.backend !== undefined || options.isa !== undefined;
  try {
    if (choice.kind === "wasm" && !asked) options.onNotice?.(`wasm, ${choice.reason}`);
    return await build(model, machine, angles, choice, options, packed);
  } catch (error) {
    if (choice.kind !== "native" || asked || !(error instanceof MachineError)) throw error;
    options.onNotice?.(`wasm, not native: ${error.message}`);
    const wasm = chooseBackend(machine, { working: [], broken: [] }, { backend: "wasm" });
    return build(model, machine, angles, wasm, options, packed);
  }
}

/** The angles of every rotation of the model, at this context length. Throws `FileFormatError`. */
export async function readAngles(
  file: ModelFile,
  spec: ModelPart,
  contextLength: number,
): Promise<RopeAngles[]> {
  const reading = ropes(spec).map(async (rope) => {
    const vector = ropeFactors(rope, contextLength);
    const factors = vector === undefined ? undefined : await readVector(vector, file);
    const angles = ropeAngles(rope, contextLength, factors);
    if (angles.frequencies.every(Number.isFinite) && Number.isFinite(angles.magnitude)) return angles;
    const keys = `${spec.config.architecture}.rope`;
    const field = vector === undefined ? keys : `${keys}, tensor ${vector.tensor}`;
    throw new FileFormatError(file.metadata.file, field, "gives angles that are not finite");
  });
  return Promise.all(reading);
}

async function build(
  model: OpenModel,
  machine: Machine,
  angles: readonly RopeAngles[],
  choice: BackendChoice,
  options: EngineOptions,
  packed: PackedPolicy | undefined,
): Promise<Engine> {
  const remembered = loadPlans(machine);
  const program = compileModel(model, machine, choice.isa, choice.kind, options, remembered);
  checkMemory(program, machine);
  await rememberPlans(machine, program, remembered);
  const backend = await createBackend(choice, program, options);
  try {
    options.onNotice?.(
      `running on ${backend.description}, ${backend.threads} thread${backend.threads === 1 ? "" : "s"}`,
    );
    const cache = backend.allocate(program.cache.bytes, "working");
    const work = backend.allocate(program.work.bytes, "working");
    const weights = await placeWeights({ model, program, backend, machine, options }, packed);
    return new Engine(program, backend, { weights: weights.region, cache, work }, angles, weights.settling);
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

/** Leaves what had to be planned anew for later starts; what was tuned is on record already. */
async function rememberPlans(
  machine: Machine,
  { matrices, isa, threads }: ModelProgram,
  remembered: Tuning,
): Promise<void> {
  const plans = unknownTo([...remembered, ...(machine.tuned ?? [])], tuningOf(matrices, isa, threads));
  if (plans.length > 0) await savePlans(machine, plans);
}

/** Fails early where the system would start to swap, or kill the process, half way. */
function checkMemory({ weights, cache, work }: ModelProgram, machine: Machine): void {
  const needed = weights.bytes + cache.bytes + work.bytes;
  if (needed <= machine.memoryBytes) return;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  throw new MachineError(
    `the model needs ${gib(needed)} (weights ${gib(weights.bytes)}, KV cache ${gib(cache.bytes)}), this process may have ` +
      `${gib(machine.memoryBytes)}: take a smaller model or format, or lower contextLength`,
  );
}

/** Positions of a text. Throws `UsageError` for more than the model has learned, where it learned them one by one. */
function contextLengthOf({ config, embedding }: ModelSpec, { contextLength }: EngineOptions): number {
  const most = embedding.positions?.rows;
  if (contextLength !== undefined && most !== undefined && contextLength > most) {
    throw new UsageError(`contextLength must be at most ${most} for this model, which has no more positions`);
  }
  return contextLength ?? Math.min(config.contextLength, DEFAULT_CONTEXT);
}

/** The pure half: plan and kernels for a model on a machine; `remembered` saves planning where it knows a shape. */
export function compileModel(
  { spec, file }: Pick<OpenModel, "spec" | "file">,
  machine: Machine,
  isa: Isa,
  kind: BackendKind,
  options: EngineOptions,
  remembered: Tuning = [],
): ModelProgram {
  checkOptions(options);
  const threads = kind === "wasm" ? 1 : (options.threads ?? machine.threads);
  const matrices = planMatrices(spec, file, machine, isa, {
    threads,
    prefillTokens: MAX_ROWS[kind],
    activations: options.activations ?? "int8",
    quantize: options.quantize === undefined ? undefined : formatNamed(options.quantize),
    remembered,
  });
  const { config } = spec;
  const kv = {
    kvHeads: config.kvHeads,
    headDim: config.headDim,
    element: options.kv ?? "f16",
    pageTokens: PAGE_TOKENS,
  } as const;
  const outputs = Math.floor(LOGIT_BYTES / (4 * config.vocabularySize));
  return new ModelProgram(spec, matrices, kv, isa, threads, {
    maxRows: MAX_ROWS[kind],
    maxOutputs: Math.max(LEAST_OUTPUTS, Math.min(MAX_ROWS[kind], outputs)),
    contextLength: contextLengthOf(spec, options),
    sequences: 1,
  });
}

async function createBackend(
  choice: BackendChoice,
  program: ModelProgram,
  options: EngineOptions,
): Promise<Backend> {
  const matrices = [...program.matrices.values()];
  const kernels = [...program.kernels.values(), ...packKernels(matrices, program.isa)];
  const capacity =
    program.weights.bytes +
    program.cache.bytes +
    program.work.bytes +
    stagingBytes(matrices) +
    program.tableBytes +
    PACK_TABLE_BYTES;
  const { isa, threads } = program;
  return opener(choice)({ isa, threads, kernels, capacity, signal: options.signal });
}
