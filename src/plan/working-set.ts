import type { Isa } from "../isa/isa.ts";
import { type Blocking, tokenSteps } from "../kernels/blocking.ts";
import { scratchBytes } from "../kernels/weight-source.ts";
import { packing } from "../quant/packing.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";
import type { Speeds } from "./speeds.ts";

/** Bytes that one level of the memory is meant to hold while a mini-GEMV runs. */
export interface WorkingSet {
  readonly name: string;
  readonly bytes: number;
  readonly level: "L1" | "L2" | "memory";
  /** What of the level it may fill: the rest is for what streams by. */
  readonly capacity: number;
  readonly fits: boolean;
}

/** Part of a cache that a working set may fill. */
const FILL = 0.5;

export function workingSets(
  { capacity }: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
): WorkingSet[] {
  const { mb, tb, tu, nu } = blocking;
  const part = Math.min(1, mb / shape.cols);
  const pack = packing(shape.format, shape.rows, shape.cols, tu / isa.lanes, isa);
  const isExpanded = tokenSteps(blocking, tokens).some(({ expanded }) => expanded);
  const weights = isExpanded
    ? scratchBytes({ ...shape, blocking }, isa)
    : Math.ceil((tb / tu) * pack.tileBytes * part);
  const set = (name: string, bytes: number, level: "L1" | "L2"): WorkingSet => {
    const room = Math.floor(capacity[level] * FILL);
    return { name, bytes, level, capacity: room, fits: bytes <= room };
  };
  const x = set(
    "activations nu x mb",
    Math.ceil(Math.min(nu, tokens) * layoutOf(shape, isa).rowBytes * part),
    "L1",
  );
  const y = set("outputs nu x tu", 4 * Math.min(nu, tokens) * tu, "L1");
  if (tokens === 1) {
    const streamed = { level: "memory", capacity: pack.totalBytes, fits: true } as const;
    return [{ name: "weights mb x tb, read once", bytes: weights, ...streamed }, x, y];
  }
  return [set(`weights mb x tb${isExpanded ? ", expanded" : ""}`, weights, "L2"), x, y];
}
