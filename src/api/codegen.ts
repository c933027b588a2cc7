/**
 * `qigen/codegen`: the generator without the engine. Describe a machine, a format and a shape; get the plan that the
 * performance model chooses and the code that computes it. Pure: nothing is probed, compiled or run, so code for any
 * machine can be generated on any other, and in a browser.
 */

import { UsageError } from "../base/errors.ts";
import { emitC } from "../emit/c.ts";
import { emitWasm } from "../emit/wasm.ts";
import { printKernel } from "../ir/print.ts";
import type { Kernel } from "../ir/types.ts";
import { verify } from "../ir/verify.ts";
import { isaNamed } from "../isa/index.ts";
import type { Isa } from "../isa/isa.ts";
import { projection } from "../kernels/projection.ts";
import { defaultActivations } from "../plan/activations.ts";
import { genericMachine, type Machine } from "../plan/machine.ts";
import { type ProjectionPlan, planWeights } from "../plan/projection-plan.ts";
import type { ProjectionShape } from "../plan/shape.ts";
import { type Format, formatNamed } from "../quant/formats.ts";

export { FileFormatError, QigenError, UnsupportedError, UsageError } from "../base/errors.ts";
export { printKernel } from "../ir/print.ts";
export type { Kernel } from "../ir/types.ts";
export { ISAS, isaNamed } from "../isa/index.ts";
export type { Isa } from "../isa/isa.ts";
export type { Activations } from "../kernels/activations.ts";
export type { Blocking } from "../kernels/blocking.ts";
export { defaultActivations } from "../plan/activations.ts";
export type { Limit, Prediction } from "../plan/cost.ts";
export { explainModel, explainProjection } from "../plan/explain.ts";
export {
  type Architecture,
  type CacheLevel,
  genericMachine,
  type Machine,
  type Measurements,
  parseMachine,
} from "../plan/machine.ts";
export {
  type ModelPlan,
  type ModelProjection,
  type ModelShapes,
  planModel,
} from "../plan/model-plan.ts";
export {
  type PlanOptions,
  type ProjectionPlan,
  planProjection,
  planWeights,
  type WeightsOptions,
  type WeightsPlan,
} from "../plan/projection-plan.ts";
export type { ProjectionShape } from "../plan/shape.ts";
export type { WorkingSet } from "../plan/working-set.ts";
export { bitsPerWeight } from "../quant/blocks.ts";
export {
  FORMATS,
  type Format,
  familyFormat,
  formatNamed,
  type QuantizedFormat,
} from "../quant/formats.ts";

/** One projection y = W · x to generate code for. */
export interface ProjectionRequest {
  /** What to plan for. Default: `genericMachine()`. */
  readonly machine?: Machine | undefined;
  /** A table of `ISAS`, or its name. The machine need not have it. */
  readonly isa: Isa | string;
  /** A format, or the name of one in `FORMATS`: `Q4_0`, `4bit-g128`, … */
  readonly format: Format | string;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly cols: number;
  /** Input vectors at a time that the plan is made for: 1 (the default) as the engine plans, or more. Kernels take any. */
  readonly tokens?: number | undefined;
  /** Default `int8`; formats of float weights are always multiplied in f32. */
  readonly activations?: "int8" | "f32" | undefined;
  /** Default: those of the machine; one on WebAssembly. */
  readonly threads?: number | undefined;
}

/** What `generateProjection` made. */
export interface GeneratedProjection {
  /** The blocking, and what it was chosen by. */
  readonly plan: ProjectionPlan;
  readonly kernel: Kernel;
  readonly code: {
    /** The kernel in the vector IR, for reading. */
    readonly ir: string;
    /** C with intrinsics, for ISAs of native code. */
    readonly c?: string;
    /** The text of a WebAssembly module, for ISAs of WebAssembly. */
    readonly wasm?: string;
  };
}

/** Largest number of rows, columns or tokens. */
const MOST = 2 ** 24;

/**
 * Plans a projection and generates its code: exactly what the engine would run for a matrix of this shape.
 *
 * @throws UsageError for a shape out of range, or an unknown ISA
 * @throws UnsupportedError for an unknown format
 */
export function generateProjection(request: ProjectionRequest): GeneratedProjection {
  const { machine = genericMachine(), rows, cols, tokens = 1 } = request;
  for (const [name, value] of Object.entries({ rows, cols, tokens })) {
    if (!(Number.isInteger(value) && value >= 1 && value <= MOST)) {
      throw new UsageError(`${name} must be a whole number from 1 to ${MOST}, not ${value}`);
    }
  }
  const isa = typeof request.isa === "string" ? isaNamed(request.isa) : request.isa;
  const format = typeof request.format === "string" ? formatNamed(request.format) : request.format;
  const activations =
    request.activations === "f32" ? ({ kind: "f32" } as const) : defaultActivations(format, cols);
  const shape: ProjectionShape = { format, rows, cols, activations };
  const threads = { threads: request.threads ?? (isa.syntax === "wasm" ? 1 : machine.threads) };
  const plan =
    tokens === 1
      ? planWeights(machine, isa, shape, threads).decode
      : planWeights(machine, isa, shape, { ...threads, prefillTokens: tokens }).prefill;
  const { blocking } = plan;
  const kernel = projection({ format, cols, activations, blocking }, isa);
  verify(kernel);
  const ir = printKernel(kernel);
  const code = isa.syntax === "c" ? { ir, c: emitC([kernel], isa) } : { ir, wasm: emitWasm([kernel], isa) };
  return { plan, kernel, code };
}
