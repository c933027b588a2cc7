import type { GgufArray, GgufValue } from "../files/gguf-values.ts";
import { type ModelFile, PlainTensor } from "../files/model-file.ts";
import type { ModelFiles } from "../host/model-files.ts";
import type { RemoteModel } from "../hub/remote-model.ts";
import type { ModelConfig, ModelSpec } from "../models/model.ts";
import { formatFloat32 } from "./format.ts";
import type { InspectFlags } from "./inspect.ts";

/** What `qigen inspect` tells; plain data, so that it is also what `--json` prints. */
export interface Inspection {
  readonly file: {
    readonly path: string;
    /** Of all files together. */
    readonly bytes: number;
    readonly files: number;
    readonly ggufVersion?: number;
    readonly alignment?: number;
  };
  readonly architecture: string;
  /** What a user should know of the files. */
  readonly notices: readonly string[];
  /** Whether this version can run the model; `reason` where not. */
  readonly supported: boolean;
  readonly reason?: string;
  readonly metadata: Readonly<Record<string, MetadataValue>>;
  readonly config?: ModelConfig;
  readonly tensors: TensorSummary;
  readonly memory?: MemoryNeed;
}

/** Arrays are summarised: type, length and the first elements. */
export type MetadataValue =
  | number
  | string
  | boolean
  | {
      readonly array: string;
      readonly length: number;
      readonly first: readonly (string | number | boolean)[];
    };

export interface TensorSummary {
  readonly count: number;
  readonly weights: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly types: readonly {
    readonly type: string;
    readonly tensors: number;
    readonly weights: number;
    readonly bytes: number;
    readonly bitsPerWeight: number;
    /** Whether there are kernels for the type. */
    readonly kernels: boolean;
    /** What the weights take in memory where kernels read another form, which is made without loss as they load. */
    readonly repacked?: { readonly bytes: number; readonly bitsPerWeight: number };
  }[];
  /** With `--tensors`. */
  readonly list?: readonly {
    readonly name: string;
    readonly type: string;
    readonly shape: readonly number[];
    /** Where it lies in its file (bytes), if it lies there as it is. */
    readonly offset?: number;
    readonly bytes: number;
  }[];
}

/** Bytes of memory to run the model with. */
export interface MemoryNeed {
  readonly backend: string;
  readonly isa: string;
  readonly contextLength: number;
  readonly kv: string;
  readonly weights: number;
  readonly kvCache: number;
  readonly working: number;
  readonly total: number;
}

/**
 * Reads the headers of a model's files, here or on the hub, and tells what is in them. Throws only where they are not
 * well-formed.
 */
export async function inspectModel(model: string | RemoteModel, flags: InspectFlags): Promise<Inspection> {
  const { openModelFiles } = await import("../host/model-files.ts");
  const notices: string[] = [];
  const [path, opening] =
    typeof model === "string"
      ? [model, openModelFiles(model, (line) => notices.push(line))]
      : [model.reference, model.open()];
  const files = await opening;
  try {
    const { file, gguf, stamps = [] } = files;
    const architecture = file.metadata.stringOr("general.architecture", "unknown");
    const about = {
      file: {
        path,
        bytes: stamps.reduce((sum, { size }) => sum + size, 0),
        files: stamps.length,
        ...(gguf === undefined ? {} : { ggufVersion: gguf.version, alignment: gguf.alignment }),
      },
      architecture,
      notices,
    };
    const contents = {
      metadata: Object.fromEntries([...file.metadata.entries].map(([key, value]) => [key, plain(value)])),
      tensors: await summarise(file, flags.tensors ?? false),
    };
    const found = await specOf(files);
    if ("reason" in found) return { ...about, supported: false, reason: found.reason, ...contents };
    const { config } = found.spec;
    const memory = await memoryNeed({ ...found, file }, flags);
    if ("reason" in memory) return { ...about, supported: false, reason: memory.reason, ...contents, config };
    return { ...about, supported: true, ...contents, config, memory };
  } finally {
    await files.close();
  }
}

/** The model in the files, or why this version cannot run it. */
async function specOf(
  files: ModelFiles,
): Promise<{ readonly spec: ModelSpec } | { readonly reason: string }> {
  const [{ modelSpec }, { QigenError }] = await Promise.all([
    import("../models/index.ts"),
    import("../base/errors.ts"),
  ]);
  try {
    const spec = modelSpec(files.file);
    files.tokenizer();
    return { spec };
  } catch (error) {
    if (error instanceof QigenError) return { reason: error.message };
    throw error;
  }
}

/** Lays the model out in memory as loading would, without allocating it. */
async function memoryNeed(
  model: Parameters<typeof import("../engine/load-model.ts")["compileModel"]>[0],
  flags: InspectFlags,
): Promise<MemoryNeed | { readonly reason: string }> {
  const [{ compileModel }, { chooseIsa }, { isaHere }, { describeMachine }, { UnsupportedError }] =
    await Promise.all([
      import("../engine/load-model.ts"),
      import("../engine/choose.ts"),
      import("./machine.ts"),
      import("../host/describe-machine.ts"),
      import("../base/errors.ts"),
    ]);
  const machine = await describeMachine();
  const isOpen = flags.isa === undefined && flags.backend === undefined;
  const isa = isOpen ? await isaHere(machine) : chooseIsa(machine, flags.isa, flags.backend);
  const backend = flags.backend ?? (isa.syntax === "c" ? "native" : "wasm");
  try {
    const program = compileModel(model, machine, isa, backend, flags);
    const [weights, kvCache, working] = [program.weights.bytes, program.cache.bytes, program.work.bytes];
    return {
      backend,
      isa: isa.name,
      contextLength: program.limits.contextLength,
      kv: program.kv.element,
      weights,
      kvCache,
      working,
      total: weights + kvCache + working,
    };
  } catch (error) {
    if (error instanceof UnsupportedError) return { reason: error.message };
    throw error;
  }
}

/** Elements of an array that are shown. */
const SHOWN = 5;

function plain(value: GgufValue): MetadataValue {
  if (value.type === "array") return { array: value.of, length: value.values.length, first: first(value) };
  return scalar(value.value, value.type);
}

function scalar(value: number | bigint | string | boolean, type: string): number | string | boolean {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== "number") return value;
  if (!Number.isFinite(value)) return String(value);
  return type === "f32" ? Number(formatFloat32(value)) : value;
}

function first(array: GgufArray): (string | number | boolean)[] {
  const count = Math.min(SHOWN, array.values.length);
  return Array.from({ length: count }, (_, i) => {
    if (array.of === "string") return array.values.at(i);
    if (array.of === "array") return `array of ${array.values[i]?.values.length} × ${array.values[i]?.of}`;
    const value = array.values[i] ?? 0;
    return array.of === "bool" ? value !== 0 : scalar(value, array.of);
  });
}

async function summarise(file: ModelFile, list: boolean): Promise<TensorSummary> {
  const [{ FORMATS }, { repackedBits }] = await Promise.all([
    import("../quant/formats.ts"),
    import("../quant/repacking.ts"),
  ]);
  const types = new Map<string, { tensors: number; weights: number; bytes: number }>();
  for (const { type, shape, byteLength } of file.tensors.values()) {
    const sum = types.get(type) ?? { tensors: 0, weights: 0, bytes: 0 };
    sum.tensors++;
    sum.weights += shape.reduce((a, b) => a * b, 1);
    sum.bytes += byteLength;
    types.set(type, sum);
  }
  const bits = (bytes: number, weights: number) => (weights === 0 ? 0 : (8 * bytes) / weights);
  const repacked = (type: string, weights: number) => {
    const bitsPerWeight = repackedBits(type);
    return bitsPerWeight === undefined
      ? {}
      : { repacked: { bytes: (weights * bitsPerWeight) / 8, bitsPerWeight } };
  };
  const sums = [...types].map(([type, sum]) => ({
    type,
    ...sum,
    bitsPerWeight: bits(sum.bytes, sum.weights),
    kernels: FORMATS.has(type),
    ...repacked(type, sum.weights),
  }));
  const weights = sums.reduce((all, sum) => all + sum.weights, 0);
  const bytes = sums.reduce((all, sum) => all + sum.bytes, 0);
  return {
    count: file.tensors.size,
    weights,
    bytes,
    bitsPerWeight: bits(bytes, weights),
    types: sums.sort((a, b) => b.bytes - a.bytes),
    ...(list
      ? {
          list: [...file.tensors.values()].map((tensor) => ({
            name: tensor.name,
            type: tensor.type,
            shape: tensor.shape,
            ...(tensor instanceof PlainTensor ? { offset: tensor.offset } : {}),
            bytes: tensor.byteLength,
          })),
        }
      : {}),
  };
}
