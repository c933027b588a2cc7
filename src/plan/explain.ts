export { explainMeasured } from "./explain-measured.ts";
export { explainModel } from "./explain-model.ts";
export { explainProjection } from "./explain-projection.ts";
