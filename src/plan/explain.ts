export { explainModel } from "./explain-model.ts";
export { explainProjection } from "./explain-projection.ts";
