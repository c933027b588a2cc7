import type { Isa } from "../isa/isa.ts";
import { type ActivationLayout, type Activations, activationLayout } from "../kernels/activations.ts";
import type { ExpertCounts } from "../models/model.ts";
import type { Format } from "../quant/formats.ts";

/** One matrix of a model, as the planner sees it: y = W · x with `rows` outputs and `cols` inputs. */
export interface ProjectionShape {
  readonly format: Format;
  readonly rows: number;
  readonly cols: number;
  readonly activations: Activations;
  /** Makes it a matrix of a stack that has one for every expert, of which a token passes some: it meets fewer tokens. */
  readonly experts?: ExpertCounts;
}

/** Layout of the prepared activations of a shape. */
export function layoutOf({ activations, format, cols }: ProjectionShape, isa: Isa): ActivationLayout {
  return activationLayout(activations, format, cols, isa);
}

/** Shapes with equal keys have equal plans. */
export function shapeKey({ format, rows, cols, activations, experts }: ProjectionShape): string {
  const x = activations.kind === "f32" ? "f32" : `i8b${activations.block}`;
  const stack = experts === undefined ? "" : ` ${experts.used} of ${experts.count}`;
  return `${format.name} ${rows}x${cols} ${x}${stack}`;
}
