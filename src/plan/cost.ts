import type { Isa } from "../isa/isa.ts";
import type { ActivationLayout } from "../kernels/activations.ts";
import type { Blocking } from "../kernels/projection.ts";
import { type Packing, packing } from "../quant/packing.ts";
import type { Machine } from "./machine.ts";
import { LOADS_PER_CYCLE, type MicroOps, microOps } from "./micro-ops.ts";
import { type Rounds, roundsOf } from "./rounds.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { trafficOf } from "./traffic.ts";

/** What takes longest: instructions (arithmetic, loads, waiting for one another), data (caches, memory), or the rest. */
export type Limit = "arithmetic" | "loads" | "latency" | "cache" | "memory" | "overhead";

/** Predicted time of one projection of all tokens, and what follows from it. */
export interface Prediction {
  /** Instructions of the thread with the largest share. */
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
/**
 * Part of the shorter of two overlapping activities that the longer does not hide: loads under arithmetic (they share
 * the front end and the scheduler), and data from memory under instructions. Measured on Zen 3: over 88 blockings of
 * 2 to 4 bits an arithmetic micro-op takes 0.25 cycles and a load 0.24 … 0.33; one thread streaming weights at 0.5 to
 * 1 of its bandwidth loses 0.17 … 0.35 of its computing time.
 */
const LOADS_NOT_HIDDEN = 0.5;
const DATA_NOT_HIDDEN = 0.25;

const overlapped = (a: number, b: number, notHidden: number) => Math.max(a, b) + notHidden * Math.min(a, b);

/**
 * Predicts the time of a blocking. A roofline with the kernel's own instruction counts, per thread; x ‖ y is the longer
 * and a part of the shorter:
 *
 *     compute = row tiles of the slowest thread · token steps · cycles of a tile / clock
 *     cycles  = max(arithmetic / perCycle ‖ loads / LOADS_PER_CYCLE, latency)
 *     data    = bytes of each level / what one thread draws from it
 *     seconds = max((compute ‖ data) + loops, all threads' bytes from memory / bandwidth of all) + barrier
 *
 * So while memory is the limit of one thread, computing adds to it; where several threads exceed what memory gives to
 * all of them, one computes while another reads, and computing costs nothing.
 */
export function predict(
  machine: Machine,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  threads: number,
): Prediction {
  const speeds = speedsOf(machine, isa, threads);
  return predictWith(speeds, isa, shape, blocking, tokens, describeMicro(isa, shape, blocking));
}

/** What is the same for all blockings with one micro-GEMV: its instructions, the packed weights, the inputs. */
export interface Micro {
  readonly ops: MicroOps;
  readonly pack: Packing;
  readonly layout: ActivationLayout;
}

export function describeMicro(isa: Isa, shape: ProjectionShape, blocking: Blocking): Micro {
  const { format, rows, cols } = shape;
  return {
    ops: microOps(isa, shape, blocking),
    pack: packing(format, rows, cols, blocking.tu / isa.lanes, isa),
    layout: layoutOf(shape),
  };
}

/** `predict` for a machine whose speeds are known, and a known micro-GEMV. */
export function predictWith(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  { ops, pack, layout }: Micro,
): Prediction {
  const { rows, cols } = shape;
  const rounds = roundsOf(shape, blocking, tokens, speeds.threads);
  const compute = computeCost(speeds, isa, blocking, rounds, ops);
  const data = dataCost(speeds, layout, blocking, rounds, pack);
  const busy = overlapped(compute.seconds, data.thread + data.cache, DATA_NOT_HIDDEN);
  const barrier = speeds.threads > 1 ? BARRIER_SECONDS : 0;
  const seconds = Math.max(busy + compute.loops, data.shared) + barrier;
  const memorySeconds = Math.max(data.thread, data.shared);
  return {
    computeSeconds: compute.seconds,
    memorySeconds,
    cacheSeconds: data.cache,
    overheadSeconds: compute.loops + barrier,
    seconds,
    bytes: pack.totalBytes,
    limit: longest([
      [compute.limit, compute.seconds],
      ["memory", memorySeconds],
      ["cache", data.cache],
      ["overhead", compute.loops + barrier],
    ]),
    gbs: pack.totalBytes / seconds / 1e9,
    gops: (2 * rows * cols * tokens) / seconds / 1e9,
  };
}

function longest(seconds: readonly (readonly [Limit, number])[]): Limit {
  return seconds.reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

interface ComputeCost {
  readonly seconds: number;
  /** Starting micro-GEMVs, and loop control. */
  readonly loops: number;
  readonly limit: Limit;
}

function computeCost(
  { ghz }: Speeds,
  isa: Isa,
  { tu, nu }: Blocking,
  { share, inputBlocks, tokenSteps }: Rounds,
  ops: MicroOps,
): ComputeCost {
  const arithmetic = ops.arithmetic / isa.costs.perCycle;
  const loads = ops.loads / LOADS_PER_CYCLE;
  const throughput = overlapped(arithmetic, loads, LOADS_NOT_HIDDEN);
  const start = inputBlocks * (START_CYCLES + OUTPUT_CYCLES * nu * (tu / isa.lanes));
  const perCycle = (share * tokenSteps) / ghz / 1e9;
  return {
    seconds: Math.max(throughput, ops.latency) * perCycle,
    loops: (start + ops.control) * perCycle,
    limit: ops.latency > throughput ? "latency" : loads > arithmetic ? "loads" : "arithmetic",
  };
}

interface DataCost {
  /** The slowest thread's bytes from memory, at what one thread can draw. */
  readonly thread: number;
  /** All threads' bytes from memory, at what it gives to all. */
  readonly shared: number;
  /** The slowest thread's bytes from caches; L2, and a fair part of L3, are each core's own. */
  readonly cache: number;
}

/** Seconds that data takes. */
function dataCost(
  { memoryGBs, oneThreadGBs, cacheGBs, capacity, threads }: Speeds,
  layout: ActivationLayout,
  blocking: Blocking,
  rounds: Rounds,
  pack: Packing,
): DataCost {
  const traffic = trafficOf(capacity, layout, blocking, rounds, pack, threads);
  return {
    thread: traffic.memory / oneThreadGBs / 1e9,
    shared: traffic.memoryOfAll / memoryGBs / 1e9,
    cache: (traffic.L2 / cacheGBs.L2 + traffic.L3 / cacheGBs.L3) / 1e9,
  };
}
