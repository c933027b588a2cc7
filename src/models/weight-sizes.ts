import type { Activation } from "../kernels/gate.ts";
import { type FeedForward, type LayerMatrix, layerMatrices, type ModelSpec } from "./model.ts";

/** Queries and keys are this much longer than unit gaussians, which makes attention look at few positions. */
const SCORE_GAIN = Math.SQRT2;

/**
 * Root mean square of activation(g) for a standard normal g; times a standard normal it is the same, times that plus 1
 * √2 as much.
 */
const ACTIVATION_RMS: Readonly<Record<Activation, number>> = {
  silu: 0.596,
  gelu: 0.652,
  gelu_erf: 0.652,
  relu: Math.SQRT1_2,
  clampedSilu: 0.92,
};

/**
 * Standard deviations of random weights, by tensor, that keep the residual stream at its size through any number of
 * layers: the additions of all layers are together as large as the embedding. Logits get the standard deviation
 * `logitStd`.
 */
export function matrixSizes(spec: ModelSpec, logitStd: number): Map<string, number> {
  const { embedding, layers, output } = spec;
  const { table, scale = 1, projection, positions } = embedding;
  const tied = output.head.tensor === table.tensor;
  const headStd = logitStd / Math.sqrt(output.head.cols);
  const streamStd = tied ? headStd * scale : 1;
  const addedStd = streamStd / Math.sqrt(2 * layers.length);
  const sizes = new Map<string, number>();
  const set = (tensor: string, std: number) => sizes.set(tensor, Math.max(std, sizes.get(tensor) ?? 0));
  set(table.tensor, streamStd / scale);
  for (const linear of [projection, output.projection]) {
    if (linear !== undefined) set(linear.tensor, 1 / Math.sqrt(linear.cols));
  }
  if (positions !== undefined) set(positions.tensor, streamStd);
  for (const layer of layers) {
    for (const [matrix, { tensor, cols }] of layerMatrices(layer)) {
      set(tensor, gain(matrix, layer.feedForward, addedStd) / Math.sqrt(cols));
    }
  }
  set(output.head.tensor, headStd);
  return sizes;
}

/** What a matrix makes of inputs of size 1. Of experts, weights of about the same size are independent. */
function gain(matrix: LayerMatrix, { activation, routing }: FeedForward, addedStd: number): number {
  switch (matrix) {
    case "q":
    case "k":
      return SCORE_GAIN;
    case "o":
      return addedStd;
    case "down":
      return (addedStd / ACTIVATION_RMS[activation]) * Math.sqrt(routing?.used ?? 1);
    case "sharedDown":
      return addedStd / ACTIVATION_RMS[activation];
    case "v":
    case "router":
    case "gate":
    case "up":
    case "sharedGate":
    case "sharedUp":
    case "sharedAmount":
      return 1;
  }
}
