import { assert } from "../base/assert.ts";
import type { MatrixPlan } from "../engine/matrix-plan.ts";
import type { Linear, ModelSpec } from "../models/model.ts";
import type { ModelProjection, ModelShapes } from "../plan/model-plan.ts";
import { shapeKey } from "../plan/shape.ts";

/** The matrices of a layer, by what the explanation calls them. */
const NAMES = {
  q: "attention query",
  k: "attention key",
  v: "attention value",
  o: "attention output",
  gate: "feed-forward gate",
  up: "feed-forward up",
  down: "feed-forward down",
} as const;

/** A model's matrices as the planner wants them. */
export function modelShapes(spec: ModelSpec, matrices: ReadonlyMap<string, MatrixPlan>): ModelShapes {
  const projections = new Map<string, ModelProjection>();
  const add = (name: string, linear: Linear, lastTokenOnly: boolean) => {
    const plan = matrices.get(linear.tensor);
    assert(plan !== undefined, `no plan for ${linear.tensor}`);
    const { rows, cols } = linear;
    const shape = { format: plan.packing.format, rows, cols, activations: plan.activations };
    const key = `${name} ${shapeKey(shape)}`;
    const count = (projections.get(key)?.count ?? 0) + 1;
    projections.set(key, { name, shape, count, ...(lastTokenOnly ? { lastTokenOnly } : {}) });
  };
  const names = Object.entries(NAMES) as [keyof typeof NAMES, string][];
  for (const layer of spec.layers) for (const [part, name] of names) add(name, layer[part], false);
  add("output head", spec.output, true);
  return { projections: [...projections.values()] };
}
