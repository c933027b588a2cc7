import { defaultActivations } from "../../src/plan/activations.ts";
import type { ModelProjection, ModelShapes } from "../../src/plan/model-plan.ts";
import { formatNamed } from "../../src/quant/formats.ts";

export function projectionOf(
  name: string,
  formatName: string,
  rows: number,
  cols: number,
  count = 32,
): ModelProjection {
  const format = formatNamed(formatName);
  return { name, count, shape: { format, rows, cols, activations: defaultActivations(format, cols) } };
}

/** The matrices of Llama 3 8B. */
export function llama(format: string): ModelShapes {
  return {
    projections: [
      projectionOf("query", format, 4096, 4096),
      projectionOf("key", format, 1024, 4096),
      projectionOf("value", format, 1024, 4096),
      projectionOf("attention-output", format, 4096, 4096),
      projectionOf("gate", format, 14336, 4096),
      projectionOf("up", format, 14336, 4096),
      projectionOf("down", format, 4096, 14336),
      { ...projectionOf("output", "Q8_0", 128256, 4096, 1), lastTokenOnly: true },
    ],
  };
}
