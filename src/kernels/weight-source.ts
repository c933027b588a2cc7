import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { Target, Value } from "../ir/types.ts";
import type { Format, QuantizedFormat } from "../quant/formats.ts";
import { expandedPacking, type Packing, packing } from "../quant/packing.ts";
import type { Blocking } from "./blocking.ts";
import type { InputBlock } from "./groups.ts";
import { recordsFrom } from "./records.ts";

/** What of a projection decides where its weights lie. */
export interface WeightSpec {
  readonly format: Format;
  readonly cols: number;
  readonly blocking: Blocking;
}

/** Where the micro-GEMVs of a block find their weights. */
export interface WeightSource {
  readonly pack: Packing;
  /** The first record of row tile `index`, or, unless all are there one after the other, that of the input block. */
  readonly tileAt: (index: Value<"i32">, inputs: InputBlock) => Value<"ptr">;
}

/** The packed layout as far as a kernel knows it: the rows are a run-time value. */
export function packingOf({ format, cols, blocking }: WeightSpec, target: Target): Packing {
  return packing(format, blocking.tu, cols, blocking.tu / target.lanes, target);
}

/** How the weights of a mini-GEMV lie expanded. */
export function expandedOf(spec: WeightSpec, target: Target): Packing {
  return expandedPacking(packingOf(spec, target), Math.min(spec.blocking.mb, spec.cols));
}

/** Bytes of scratch that a part of the step needs. */
export function scratchBytes(spec: WeightSpec, target: Target): number {
  const { tb, tu, expand } = spec.blocking;
  return expand ? (tb / tu) * expandedOf(spec, target).tileBytes : 0;
}

/** The weights as packed, in `tiles` row tiles. */
export function packedSource(
  b: KernelBuilder,
  spec: WeightSpec,
  weights: Value<"ptr">,
  tiles: Value<"i32">,
): WeightSource {
  const pack = packingOf(spec, b.target);
  const matrix = { base: weights, tiles, tileBytes: b.i(pack.tileBytes) };
  return {
    pack,
    tileAt: (index, { start }) =>
      pack.panels === 1
        ? b.op.addr(weights, index, { stride: pack.tileBytes, offset: 0 })
        : recordsFrom(b, pack, matrix, index, start),
  };
}

/** The row tiles of a block from `first` on, expanded to `block`. */
export function expandedSource(
  b: KernelBuilder,
  spec: WeightSpec,
  block: Value<"ptr">,
  first: Value<"i32">,
): WeightSource {
  const pack = expandedOf(spec, b.target);
  const tileAt = (index: Value<"i32">) =>
    b.op.addr(block, b.op.isub(index, first), { stride: pack.tileBytes, offset: 0 });
  return { pack, tileAt };
}

/** A packing of quantized weights, and their format. */
export function quantized(pack: Packing): { readonly format: QuantizedFormat; readonly pack: Packing } {
  const { format } = pack;
  assert(format.kind === "quantized", "floats have no codes");
  return { format, pack };
}
