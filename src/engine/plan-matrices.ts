import { assert } from "../base/assert.ts";
import { UnsupportedError } from "../base/errors.ts";
import type { ModelFile } from "../files/gguf.ts";
import type { Isa } from "../isa/isa.ts";
import { type Linear, linears, type ModelSpec } from "../models/model.ts";
import { defaultActivations } from "../plan/activations.ts";
import type { Machine } from "../plan/machine.ts";
import { planWeights, type WeightsPlan } from "../plan/projection-plan.ts";
import { type ProjectionShape, shapeKey } from "../plan/shape.ts";
import { FORMATS, type Format } from "../quant/formats.ts";
import { packing } from "../quant/packing.ts";
import type { MatrixPlan } from "./matrix-plan.ts";

export interface PlanChoices {
  readonly threads: number;
  /** Rows of a prefill step. */
  readonly prefillTokens: number;
  /** `f32` keeps activations in full precision. */
  readonly activations: "int8" | "f32";
  /** Quantizes float matrices to this format on load. */
  readonly quantize?: Format | undefined;
}

/** Decides packing and blocking of every weight matrix; equal shapes are planned once. */
export function planMatrices(
  spec: ModelSpec,
  file: ModelFile,
  machine: Machine,
  isa: Isa,
  choices: PlanChoices,
): Map<string, MatrixPlan> {
  const { threads, prefillTokens } = choices;
  const plans = new Map<string, WeightsPlan>();
  const plan = (linear: Linear): MatrixPlan => {
    const source = sourceFormat(linear, file);
    const format = choices.quantize !== undefined && source.kind === "float" ? choices.quantize : source;
    const { rows, cols } = linear;
    const activations =
      choices.activations === "f32" ? ({ kind: "f32" } as const) : defaultActivations(format, cols);
    const shape: ProjectionShape = { format, rows, cols, activations };
    const key = shapeKey(shape);
    const known = plans.get(key) ?? planWeights(machine, isa, shape, { prefillTokens, threads });
    plans.set(key, known);
    return {
      linear,
      source,
      packing: packing(format, rows, cols, known.tile, isa),
      activations,
      blocking: known.blocking,
    };
  };
  return new Map(linears(spec).map((linear) => [linear.tensor, plan(linear)]));
}

function sourceFormat({ tensor }: Linear, file: ModelFile): Format {
  const found = file.tensors.get(tensor);
  assert(found !== undefined, `no tensor ${tensor}`);
  const format = FORMATS.get(found.type);
  if (format === undefined) {
    throw new UnsupportedError(
      `${file.metadata.file}: tensor ${tensor} has type ${found.type}, for which there are no kernels yet; known: ${[...FORMATS.keys()].join(", ")}`,
    );
  }
  return format;
}
