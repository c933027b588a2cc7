import { assert } from "../base/assert.ts";
import { type LayerMatrix, type Linear, layerMatrices, type ModelSpec, nameOf } from "../models/model.ts";
import type { ModelProjection, ModelShapes } from "../plan/model-plan.ts";
import { shapeKey } from "../plan/shape.ts";
import type { MatrixPlan } from "./matrix-plan.ts";

/** The matrices of a layer, by what the explanation calls them. */
const NAMES: Readonly<Record<LayerMatrix, string>> = {
  q: "attention query",
  k: "attention key",
  v: "attention value",
  o: "attention output",
  router: "router",
  gate: "feed-forward gate",
  up: "feed-forward up",
  down: "feed-forward down",
  sharedGate: "shared gate",
  sharedUp: "shared up",
  sharedDown: "shared down",
  sharedAmount: "shared amount",
};

/** A model's matrices as the planner wants them. */
export function modelShapes(spec: ModelSpec, matrices: ReadonlyMap<string, MatrixPlan>): ModelShapes {
  const projections = new Map<string, ModelProjection>();
  const add = (name: string, linear: Linear, lastTokenOnly: boolean) => {
    const plan = matrices.get(nameOf(linear));
    assert(plan !== undefined, `no plan for ${nameOf(linear)}`);
    const { rows, cols, experts } = linear;
    const { format } = plan.packing;
    const shape = { format, rows, cols, activations: plan.activations, ...(experts && { experts }) };
    const key = `${name} ${shapeKey(shape)}`;
    const count = (projections.get(key)?.count ?? 0) + 1;
    projections.set(key, { name, shape, count, ...(lastTokenOnly ? { lastTokenOnly } : {}) });
  };
  const { embedding, layers, output } = spec;
  if (embedding.projection !== undefined) add("embedding projection", embedding.projection, false);
  for (const layer of layers)
    for (const [part, linear] of layerMatrices(layer)) add(NAMES[part], linear, false);
  if (output.projection !== undefined) add("output projection", output.projection, true);
  add("output head", output.head, true);
  return { projections: [...projections.values()] };
}
