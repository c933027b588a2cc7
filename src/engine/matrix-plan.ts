import type { Activations } from "../kernels/activations.ts";
import type { Blocking } from "../kernels/blocking.ts";
import type { Linear } from "../models/model.ts";
import type { Format } from "../quant/formats.ts";
import type { Packing } from "../quant/packing.ts";

/** What was decided for one weight matrix, or for those of a stack. */
export interface MatrixPlan {
  readonly linear: Linear;
  /** Format of the tensor in the file. */
  readonly source: Format;
  /** Packed form, of one matrix of a stack; its format differs from `source` when the weights are quantized on load. */
  readonly packing: Packing;
  readonly activations: Activations;
  readonly blocking: Blocking;
  /** Weight i of a row is for input `order[i]`; undefined where that is i. */
  readonly order?: Uint32Array | undefined;
}
