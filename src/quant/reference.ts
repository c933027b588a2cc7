/**
 * The scalar oracle of the formats: what stored bytes mean, where packing puts them, how activations are quantized and
 * what a projection computes. Every definition is spelled out element by element; speed is no goal.
 */

export { type PackingTarget, packReference, unpackReference } from "./reference-packing.ts";
export {
  projectReference,
  type QuantizedActivations,
  quantizeActivations,
  type ReferenceActivations,
  type ReferenceProjection,
  segmentSize,
} from "./reference-projection.ts";
export { dequantizeRows, type UnpackedRow, unpackRow } from "./reference-rows.ts";
