import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { packing } from "../quant/packing.ts";
import type { Machine } from "./machine.ts";
import { groupsIn, LOADS_PER_CYCLE, microOps } from "./micro-ops.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";

/** What bounds a projection: the slowest of these. */
export type Limit = "memory" | "cache" | "arithmetic" | "loads" | "latency" | "overhead";

/** Predicted time of one projection of all tokens, and what follows from it. */
export interface Prediction {
  readonly computeSeconds: number;
  /** Weights from memory, and whatever else does not stay in a cache. */
  readonly memorySeconds: number;
  /** What is read again from L2 and L3. */
  readonly cacheSeconds: number;
  /** Loops, stores, meeting at the barrier. */
  readonly overheadSeconds: number;
  readonly seconds: number;
  /** Packed weights, padding included: what must be read once. */
  readonly bytes: number;
  readonly limit: Limit;
  /** `bytes` per second, in 10⁹. */
  readonly gbs: number;
  /** 2 · rows · cols · tokens operations per second, in 10⁹. */
  readonly gops: number;
}

/** Cycles to start a micro-GEMV (addresses, clearing accumulators) and for one round of its group loop. */
const MICRO_CYCLES = 24;
const GROUP_CYCLES = 2;
/** Seconds until all threads of a team have met. */
const BARRIER_SECONDS = 1e-6;

/** Bytes moved, by the level they come from. */
interface Traffic {
  memory: number;
  L3: number;
  L2: number;
}

export function predict(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  threads: number,
): Prediction {
  const speeds = speedsOf(machine, isa, threads);
  return predictWith(speeds, isa, shape, blocking, tokens, threads);
}

export function predictWith(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  threads: number,
): Prediction {
  const { rows, cols } = shape;
  const pack = packing(shape.format, rows, cols, blocking.tu / isa.lanes, isa);
  const share = Math.ceil(pack.tiles / threads);
  const inputBlocks = Math.ceil(cols / blocking.mb);
  const passes = Math.ceil(tokens / blocking.nu);
  const cycle = 1e-9 / speeds.ghz;

  const ops = microOps(isa, shape, blocking, cols);
  const bounds: Partial<Record<Limit, number>> = {
    arithmetic: ops.arithmetic / isa.costs.perCycle,
    loads: ops.loads / LOADS_PER_CYCLE,
    latency: ops.latency,
  };
  const perTile = Math.max(...Object.values(bounds));
  const computeSeconds = share * passes * perTile * cycle;
  const outputs = blocking.nu * (blocking.tu / isa.lanes);
  const starts = share * passes * inputBlocks * (MICRO_CYCLES + 2 * outputs);
  const overheadSeconds =
    (starts + share * passes * groupsIn(shape, cols) * GROUP_CYCLES) * cycle +
    (threads > 1 ? BARRIER_SECONDS : 0);

  const traffic = trafficOf(speeds, shape, blocking, tokens, share, pack.tileBytes);
  const memorySeconds =
    Math.max((traffic.memory * pack.tiles) / share / speeds.memoryGBs, traffic.memory / speeds.oneThreadGBs) /
    1e9;
  const cacheSeconds = (traffic.L2 / speeds.cacheGBs.L2 + traffic.L3 / speeds.cacheGBs.L3) / 1e9;
  const seconds = Math.max(computeSeconds, memorySeconds + cacheSeconds) + overheadSeconds;
  const limit = (): Limit => {
    if (overheadSeconds > seconds / 2) return "overhead";
    if (memorySeconds + cacheSeconds > computeSeconds)
      return memorySeconds >= cacheSeconds ? "memory" : "cache";
    return (Object.keys(bounds) as Limit[]).reduce((a, b) => ((bounds[b] ?? 0) > (bounds[a] ?? 0) ? b : a));
  };
  return {
    computeSeconds,
    memorySeconds,
    cacheSeconds,
    overheadSeconds,
    seconds,
    bytes: pack.totalBytes,
    limit: limit(),
    gbs: pack.totalBytes / seconds / 1e9,
    gops: (2 * rows * cols * tokens) / seconds / 1e9,
  };
}

function trafficOf(
  { capacity }: Speeds,
  shape: ProjectionShape,
  { mb, tb, tu, nu }: Blocking,
  tokens: number,
  share: number,
  tileBytes: number,
): Traffic {
  const traffic: Traffic = { memory: 0, L2: 0, L3: 0 };
  const add = (bytes: number, reach: number) => {
    if (reach <= capacity.L1) return;
    traffic[reach <= capacity.L2 ? "L2" : reach <= capacity.L3 ? "L3" : "memory"] += bytes;
  };
  const rowBytes = layoutOf(shape).rowBytes;
  const part = Math.min(1, mb / shape.cols);
  const blockTiles = nu === 1 && tb === tu ? share : Math.min(tb / tu, share);
  const rowBlocks = Math.ceil(share / blockTiles);
  const passes = Math.ceil(tokens / nu);
  const blockBytes = blockTiles * tileBytes * part;
  const x = nu * rowBytes * part;
  traffic.memory += share * tileBytes;
  add((passes - 1) * share * tileBytes, blockBytes + x);
  add(rowBlocks * passes * nu * rowBytes, Math.max(capacity.L1 + 1, tokens * rowBytes + blockBytes));
  add((share - rowBlocks) * passes * nu * rowBytes, 2 * x + tileBytes / Math.ceil(shape.cols / 512));
  const again = 2 * (Math.ceil(shape.cols / mb) - 1);
  add(again * 4 * tokens * share * tu, tokens * (4 * tb + rowBytes * part) + blockBytes);
  return traffic;
}
