import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/projection.ts";
import { type Packing, packing } from "../quant/packing.ts";
import type { Machine } from "./machine.ts";
import { LOADS_PER_CYCLE, microOps } from "./micro-ops.ts";
import { type Rounds, roundsOf } from "./rounds.ts";
import type { ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { trafficOf } from "./traffic.ts";

/** What bounds a projection: instructions (arithmetic, loads, waiting for one another) or data (caches, memory). */
export type Limit = "arithmetic" | "loads" | "latency" | "cache" | "memory" | "overhead";

/** Predicted time of one projection of all tokens, and what follows from it. */
export interface Prediction {
  /** Instructions of the slowest thread. */
  readonly computeSeconds: number;
  /** Weights from memory, and whatever else does not stay in a cache. */
  readonly memorySeconds: number;
  /** What is read again from L2 and L3. */
  readonly cacheSeconds: number;
  /** Starting micro-GEMVs, loop control, meeting at the barrier. */
  readonly overheadSeconds: number;
  readonly seconds: number;
  /** Packed weights, padding rows included: what must be read at least once. */
  readonly bytes: number;
  readonly limit: Limit;
  /** `bytes` per second, in 10⁹. */
  readonly gbs: number;
  /** 2 · rows · cols · tokens operations per second, in 10⁹. */
  readonly gops: number;
}

/**
 * Cycles to start a micro-GEMV: three or four mispredicted branches, the addresses, the first group's latency; then
 * clearing and storing each output. 60 … 130 measured on Zen 3.
 */
const START_CYCLES = 100;
const OUTPUT_CYCLES = 2;
/** Seconds until all threads of a team have met. */
const BARRIER_SECONDS = 1e-6;
/** Part of the shorter of computing and reading that is not hidden behind the longer; 0.17 … 0.35 measured on Zen 3. */
const NOT_HIDDEN = 0.25;

/**
 * Predicts the time of a blocking. A roofline with the kernel's own instruction counts:
 *
 *     seconds = max(compute, data) + NOT_HIDDEN · min(compute, data) + overhead
 *     compute = row tiles of the slowest thread · token steps · cycles of a tile / clock
 *     cycles  = max((arithmetic + loads) / perCycle, loads / LOADS_PER_CYCLE, latency)
 *     data    = bytes of each level / its bandwidth
 *
 * Loads take their part of `perCycle`: on Zen 3 with AVX2, least squares over 110 blockings of 10 formats give 0.25
 * cycles for an arithmetic micro-op, 0.24 … 0.33 for a load or broadcast, 0.6 … 0.8 for a spilled value.
 */
export function predict(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  threads: number,
): Prediction {
  return predictWith(speedsOf(machine, isa, threads), isa, shape, blocking, tokens);
}

/** `predict` for a machine whose speeds are known. */
export function predictWith(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
): Prediction {
  const { rows, cols } = shape;
  const pack = packing(shape.format, rows, cols, blocking.tu / isa.lanes, isa);
  const rounds = roundsOf(shape, blocking, tokens, speeds.threads);
  const compute = computeCost(speeds, isa, shape, blocking, rounds);
  const data = dataCost(speeds, shape, blocking, rounds, pack);
  const dataSeconds = data.memorySeconds + data.cacheSeconds;
  const [long, short] = [compute.seconds, dataSeconds].sort((a, b) => b - a) as [number, number];
  const busy = long + NOT_HIDDEN * short;
  const seconds = busy + compute.overheadSeconds;
  const dataLimit = data.memorySeconds >= data.cacheSeconds ? "memory" : "cache";
  const limit = dataSeconds > compute.seconds ? dataLimit : compute.limit;
  return {
    computeSeconds: compute.seconds,
    ...data,
    overheadSeconds: compute.overheadSeconds,
    seconds,
    bytes: pack.totalBytes,
    limit: compute.overheadSeconds > busy ? "overhead" : limit,
    gbs: pack.totalBytes / seconds / 1e9,
    gops: (2 * rows * cols * tokens) / seconds / 1e9,
  };
}

interface ComputeCost {
  readonly seconds: number;
  readonly overheadSeconds: number;
  readonly limit: Limit;
}

function computeCost(
  { ghz, threads }: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  { share, inputBlocks, tokenSteps }: Rounds,
): ComputeCost {
  const ops = microOps(isa, shape, blocking);
  const bounds: readonly (readonly [Limit, number])[] = [
    ["arithmetic", (ops.arithmetic + ops.loads) / isa.costs.perCycle],
    ["loads", ops.loads / LOADS_PER_CYCLE],
    ["latency", ops.latency],
  ];
  const [limit, cycles] = bounds.reduce((a, b) => (b[1] > a[1] ? b : a));
  const tileSteps = share * tokenSteps;
  const outputs = blocking.nu * (blocking.tu / isa.lanes);
  const start = inputBlocks * (START_CYCLES + OUTPUT_CYCLES * outputs);
  const perCycle = 1e-9 / ghz;
  return {
    seconds: tileSteps * cycles * perCycle,
    overheadSeconds: tileSteps * (start + ops.control) * perCycle + (threads > 1 ? BARRIER_SECONDS : 0),
    limit,
  };
}

/**
 * Memory is shared: all threads' bytes at the bandwidth of all, but the slowest thread gets no more than one thread
 * can draw. Caches up to L2, and a fair part of L3, are each core's own.
 */
function dataCost(
  speeds: Speeds,
  shape: ProjectionShape,
  blocking: Blocking,
  rounds: Rounds,
  { tileBytes, tiles }: Packing,
): Pick<Prediction, "memorySeconds" | "cacheSeconds"> {
  const { memory, L2, L3 } = trafficOf(speeds, shape, blocking, rounds, tileBytes);
  const all = (memory * tiles) / rounds.share;
  return {
    memorySeconds: Math.max(all / speeds.memoryGBs, memory / speeds.oneThreadGBs) / 1e9,
    cacheSeconds: (L2 / speeds.cacheGBs.L2 + L3 / speeds.cacheGBs.L3) / 1e9,
  };
}
