import { assert } from "../base/assert.ts";
import { UnsupportedError } from "../base/errors.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/blocking.ts";
import { isRouting, type Linear, layerMatrices, linears, type ModelPart, nameOf } from "../models/model.ts";
import { defaultActivations } from "../plan/activations.ts";
import { expertLoad } from "../plan/expert-load.ts";
import type { Machine } from "../plan/machine.ts";
import { chooseBlocking } from "../plan/projection-plan.ts";
import { type ProjectionShape, shapeKey } from "../plan/shape.ts";
import type { Tuning } from "../plan/tuning.ts";
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
  /** What was planned on this machine before. */
  readonly remembered?: Tuning | undefined;
}

/** Decides packing and blocking of every weight matrix; equal shapes are planned once. */
export function planMatrices(
  spec: ModelPart,
  file: ModelFile,
  machine: Machine,
  isa: Isa,
  choices: PlanChoices,
): Map<string, MatrixPlan> {
  const { threads, prefillTokens, remembered } = choices;
  const blockings = new Map<string, Blocking>();
  const { embedding } = spec;
  const routing = routingMatrices(spec);
  const isTable = (linear: Linear) => linear === embedding?.table || linear === embedding?.positions;
  const plan = (linear: Linear): MatrixPlan => {
    const tensor = storedTensor(linear, file);
    const source = sourceFormat(tensor);
    if (isTable(linear) && tensor.order !== undefined) {
      throw new UnsupportedError(
        `${tensor.file}: tensor ${tensor.name}: an embedding with reordered columns`,
      );
    }
    const format = source.kind === "float" && !routing.has(linear) ? (choices.quantize ?? source) : source;
    const { rows, cols, experts } = linear;
    if (format !== source && format.kind === "quantized" && cols % (format.block ?? 1) !== 0) {
      throw new UnsupportedError(
        `${tensor.file}: tensor ${tensor.name} has rows of ${cols} weights: ${format.name} needs multiples of ${format.block}`,
      );
    }
    const { tokens } = expertLoad(experts, prefillTokens);
    const activations =
      choices.activations === "f32" ? ({ kind: "f32" } as const) : defaultActivations(format, cols);
    const shape: ProjectionShape = { format, rows, cols, activations, ...(experts && { experts }) };
    const key = shapeKey(shape);
    const blocking =
      blockings.get(key) ??
      chooseBlocking(machine, isa, shape, { prefillTokens: tokens, threads }, remembered);
    blockings.set(key, blocking);
    return {
      linear,
      source,
      packing: packing(format, rows, cols, blocking.tu / isa.lanes, isa),
      activations,
      blocking,
      order: tensor.order,
    };
  };
  return new Map(linears(spec).map((linear) => [nameOf(linear), plan(linear)]));
}

/** The matrices that choose experts and weight them. */
function routingMatrices({ layers }: ModelPart): ReadonlySet<Linear> {
  const all = layers.flatMap(layerMatrices).filter(([matrix]) => isRouting(matrix));
  return new Set(all.map(([, linear]) => linear));
}

/** The blockings of the matrices, for who plans the same again. */
export function tuningOf(matrices: ReadonlyMap<string, MatrixPlan>, isa: Isa, threads: number): Tuning {
  const entries = [...matrices.values()].map(({ linear, packing, activations, blocking }) => {
    const { format, rows, cols } = packing;
    const { experts } = linear;
    const shape = shapeKey({ format, rows, cols, activations, ...(experts && { experts }) });
    return [shape, { isa: isa.name, threads, shape, blocking }] as const;
  });
  return [...new Map(entries).values()];
}

function storedTensor({ tensor }: Linear, file: ModelFile): StoredTensor {
  const found = file.tensors.get(tensor);
  assert(found !== undefined, `no tensor ${tensor}`);
  return found;
}

/** Types in which ggml has activations while it multiplies: no program writes them to a file. */
const ACTIVATION_TYPES = ["Q8_1", "Q8_K"];

function sourceFormat({ file, name, type }: StoredTensor): Format {
  const format = FORMATS.get(type);
  if (format !== undefined) return format;
  const why = ACTIVATION_TYPES.includes(type)
    ? "which is for activations while they are multiplied, not for weights in a file: convert the model again"
    : `for which there are no kernels; known: ${[...FORMATS.keys()].join(", ")}`;
  throw new UnsupportedError(`${file}: tensor ${name} has type ${type}, ${why}`);
}
