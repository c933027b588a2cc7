import { UsageError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import type { Ordering } from "../solver/column-order.ts";
import type { Allocation } from "./budget.ts";
import type { ModuleRecord } from "./quantized-tensor.ts";

export interface QuantizeOptions {
  /** `gptq` (default) lets the weights that are left make up for those that are rounded; `rtn` rounds to nearest. */
  readonly method?: "rtn" | "gptq" | undefined;
  /**
   * `gptq` (default): a folder of safetensors that other engines load; `gguf:<type>`: a GGUF file, with matrices of a type
   * such as `q4_0`, `q4_k` or `f16`; `gguf` of the type that `bits` says (`q2_k` to `q6_k`, `q8_0`) or, under a budget, of
   * several; `safetensors:<type>`: a folder of floats, `f32`, `f16` or `bf16`.
   */
  readonly format?: string | undefined;
  /** Bits of a code: 2, 3, 4 or 8, of the format `gptq`; 5 or 6, too, of `gguf`. Default 4. */
  readonly bits?: number | undefined;
  /** Weights that share a scale, of the format `gptq`: 16, 32, 64, 128, 256, or −1 for a whole row. Default 128. */
  readonly groupSize?: number | undefined;
  /**
   * Chooses bits and group size matrix by matrix, so that codes, scales and zero points of the matrices that are quantized
   * take at most so many bits a weight, and the predictions change as little as can be. Instead of `bits` and `groupSize`;
   * needs a calibration text. With `format: "gguf"` it chooses types.
   */
  readonly budget?: number | undefined;
  /** As `budget`, but so that the whole result takes at most so many bytes. */
  readonly targetSize?: number | undefined;
  /**
   * Path of a JSON file with what every setting of every matrix costs, under a budget: read where it exists, else measured and
   * written there, so that other budgets of the same model, calibration and method need not measure it again.
   */
  readonly sensitivities?: string | undefined;
  /** Zero points in the middle instead of where each group needs them, of the format `gptq`. Default false. */
  readonly symmetric?: boolean | undefined;
  /**
   * The inputs with the largest values are rounded first: `groups` (default) leaves every group where it is, which costs
   * nothing at inference; `classic` makes groups in that order, with a list `g_idx`; `none`.
   */
  readonly actOrder?: "none" | "groups" | "classic" | undefined;
  /** What is added to the Hessian's diagonal, as a part of its mean. Default 0.01. */
  readonly damp?: number | undefined;
  /** Quantize the matrices of a layer one after the other instead of all at once. Default false. */
  readonly trueSequential?: boolean | undefined;
  /** Path of a text in UTF-8 that is like what the model will see; `gptq` needs one. */
  readonly calibration?: string | undefined;
  /** Samples of the calibration text. Default 128. */
  readonly samples?: number | undefined;
  /** Tokens of a sample. Default: as trained, at most 2,048. */
  readonly context?: number | undefined;
  /** Default: the threads that this process may really use. */
  readonly threads?: number | undefined;
  readonly onProgress?: ((progress: QuantizeProgress) => void) | undefined;
  /** Called with lines that a user should see, such as which matrices stay as they are. */
  readonly onNotice?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How far it is. */
export interface QuantizeProgress {
  /** Under a budget, finding out what every matrix may cost and what one setting for all does; then the work itself. */
  readonly stage: "measuring" | "comparing" | "quantizing";
  /** Of the stage, 0 to 1. */
  readonly done: number;
  /** What is left at the speed so far. */
  readonly secondsLeft: number;
}

/** What was made. */
export interface QuantizeResult {
  readonly path: string;
  readonly method: "rtn" | "gptq";
  readonly format: string;
  /** Tokens of the calibration text that were used. */
  readonly calibrationTokens: number;
  readonly modules: readonly ModuleRecord[];
  /** How the budget was spent, where there was one. */
  readonly allocation?: Allocation;
  /** Matrices that stay as they are, with the reason. */
  readonly skipped: readonly { readonly tensor: string; readonly reason: string }[];
  readonly seconds: number;
}

/** Bits a weight of the matrices that are quantized, or bytes of the whole result, at most. */
export type Limit = { readonly bitsPerWeight: number } | { readonly outputBytes: number };

/** The options with their defaults. */
export interface Settings {
  readonly method: "rtn" | "gptq";
  readonly format: string;
  readonly bits: number;
  readonly groupSize: number;
  readonly limit: Limit | undefined;
  readonly symmetric: boolean;
  readonly order: Ordering;
  readonly damp: number;
  readonly trueSequential: boolean;
  readonly samples: number;
}

/** Bits of a code, and the type of GGUF that has so many. */
export const GGUF_TYPES: ReadonlyMap<number, string> = new Map([
  [2, "Q2_K"],
  [3, "Q3_K"],
  [4, "Q4_K"],
  [5, "Q5_K"],
  [6, "Q6_K"],
  [8, "Q8_0"],
]);
const GROUPS = [16, 32, 64, 128, 256, -1];
const ORDERS: Readonly<Record<string, Ordering>> = {
  none: "inputs",
  groups: "groups",
  classic: "activations",
};

/** Throws `UsageError` for options out of their range. */
export function resolveOptions(options: QuantizeOptions): Settings {
  const one = <T>(name: string, value: T, known: readonly T[]): T => {
    if (known.includes(value)) return value;
    const shown = typeof value === "string" ? quoted(value) : String(value);
    throw new UsageError(`${name} must be one of ${known.join(", ")}, not ${shown}`);
  };
  const whole = (name: "samples" | "context" | "threads", most: number): void => {
    const value = options[name] ?? 1;
    if (Number.isInteger(value) && value >= 1 && value <= most) return;
    throw new UsageError(`${name} must be a whole number from 1 to ${most}, not ${value}`);
  };
  const method = one("method", options.method ?? "gptq", ["rtn", "gptq"] as const);
  const order = one("actOrder", options.actOrder ?? "groups", Object.keys(ORDERS));
  const damp = options.damp ?? 0.01;
  if (!(damp >= 0 && damp <= 1)) throw new UsageError(`damp must be from 0 to 1, not ${damp}`);
  whole("samples", 2 ** 16);
  whole("context", 2 ** 24);
  whole("threads", 1024);
  requireMeant(options);
  if (method === "gptq" && options.calibration === undefined) {
    throw new UsageError("gptq needs a calibration text: give one, or choose the method rtn");
  }
  const limit = limitOf(options);
  if (limit !== undefined && options.calibration === undefined) {
    throw new UsageError(
      "a budget needs a calibration text, on which it is found out what each matrix costs",
    );
  }
  const bits = one("bits", options.bits ?? 4, [...GGUF_TYPES.keys()]);
  const ofBits =
    options.format === "gguf" && limit === undefined
      ? `gguf:${GGUF_TYPES.get(bits)?.toLowerCase()}`
      : undefined;
  return {
    method,
    limit,
    format: ofBits ?? options.format ?? "gptq",
    bits,
    groupSize: one("groupSize", options.groupSize ?? 128, GROUPS),
    symmetric: options.symmetric ?? false,
    order: method === "rtn" ? "inputs" : (ORDERS[order] as Ordering),
    damp,
    trueSequential: options.trueSequential ?? false,
    samples: options.samples ?? 128,
  };
}

/** Throws `UsageError` for options of the format `gptq` beside a format that says what they would. */
function requireMeant({ format = "gptq", bits, groupSize, symmetric }: QuantizeOptions): void {
  if (format === "gptq") return;
  const meant = format === "gguf" ? { groupSize, symmetric } : { bits, groupSize, symmetric };
  const given = Object.entries(meant).find(([, value]) => value !== undefined);
  if (given === undefined) return;
  throw new UsageError(`${given[0]} is of the format gptq: a type such as gguf:q4_k says it itself`);
}

/** Throws `UsageError` for limits that are no positive numbers, and beside what they decide themselves. */
function limitOf(options: QuantizeOptions): Limit | undefined {
  const { budget, targetSize, bits, groupSize, sensitivities } = options;
  if (budget === undefined && targetSize === undefined) {
    if (sensitivities !== undefined) throw new UsageError("sensitivities are of use under a budget only");
    return undefined;
  }
  if (budget !== undefined && targetSize !== undefined) {
    throw new UsageError("budget and targetSize are two limits for one thing: give one of them");
  }
  if (bits !== undefined || groupSize !== undefined) {
    throw new UsageError("under a budget, bits and groupSize are chosen for every matrix: leave them out");
  }
  const [name, value] = budget === undefined ? ["targetSize", targetSize] : ["budget", budget];
  if (!(Number.isFinite(value) && Number(value) > 0)) {
    throw new UsageError(`${name} must be a number above 0, not ${value}`);
  }
  return budget === undefined ? { outputBytes: Number(value) } : { bitsPerWeight: Number(value) };
}
