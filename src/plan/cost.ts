import type { Isa } from "../isa/isa.ts";
import type { ActivationLayout } from "../kernels/activations.ts";
import { type Blocking, tokenSteps } from "../kernels/blocking.ts";
import { LINE_BYTES } from "../kernels/work.ts";
import { quads } from "../quant/chunks.ts";
import { CHUNK } from "../quant/formats.ts";
import { expandedPacking, type Packing, packing } from "../quant/packing.ts";
import { instructionsOf, type Piece, type Region } from "./instructions.ts";
import type { Machine } from "./machine.ts";
import { type Rounds, roundsOf } from "./rounds.ts";
import { layoutOf, type ProjectionShape } from "./shape.ts";
import { type Speeds, speedsOf } from "./speeds.ts";
import { trafficOf } from "./traffic.ts";

/** What instructions wait for: the arithmetic units, the load units, a place among those that start, one another. */
export type ComputeLimit = "arithmetic" | "loads" | "issue" | "latency";
/** What takes longest: instructions, data (caches, memory), or the rest. */
export type Limit = ComputeLimit | "cache" | "memory" | "overhead";

/** Predicted time of one projection of all tokens, and what follows from it. */
export interface Prediction {
  /** Instructions of the thread with the largest share. */
  readonly computeSeconds: number;
  /** Weights from memory, and whatever else does not stay in a cache. */
  readonly memorySeconds: number;
  /** What is read again from L2 and L3. */
  readonly cacheSeconds: number;
  /** Starting micro-GEMVs, meeting at the barrier. */
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

/** Loads and stores that a core starts in one cycle, and micro-ops of all kinds: 4 (Skylake) to 6 (Zen 3). */
const LOADS_PER_CYCLE = 2;
const STORES_PER_CYCLE = 1;
const ISSUED_PER_CYCLE = 5;
/**
 * Cycles to start a micro-GEMV: two or three mispredicted branches of 15 to 20 cycles each, what waited for them, and
 * outputs that are read and stored once more. Zen 4, 64 tokens in blocks of 1,024 inputs instead of all 4,096 or 5,632:
 * 185 to 470 cycles for each further start.
 */
const START_CYCLES = 180;
/**
 * Cycles to start the loop over a row block's tiles: one more branch, inputs that are not in L1 yet. Row blocks of 4 tiles
 * take 0.91 to 0.96 times as long as of one (Zen 4, 64 tokens, cold weights); this small part of it decides between equals
 * and leaves the order of others as it is.
 */
const TILE_LOOP_CYCLES = 60;
/** Seconds until all threads of a team have met. */
const BARRIER_SECONDS = 1e-6;
/**
 * Part of the shorter of two overlapping activities that the longer does not hide: loads and arithmetic (they share the
 * scheduler), data from caches and from memory under instructions. Fitted on Zen 4 to 24 blockings of each of the 24
 * cells that the model is validated on, with AVX-512 and with AVX2; memory on Zen 3 to one thread that streams weights at
 * 0.5 to 1 of its bandwidth, which loses 0.17 … 0.35 of its computing time.
 */
const LOADS_NOT_HIDDEN = 0.3;
const MEMORY_NOT_HIDDEN = 0.25;
const CACHE_NOT_HIDDEN = 0.05;
/**
 * Seconds until data comes from memory when no prefetcher expects it: after every jump from one row tile's input block
 * to the next tile's, unless a panel has both. A core follows some streams at once, so that few tiles cost less.
 */
const MEMORY_LATENCY = 160e-9;
const STREAMS = 8;
/**
 * A core's prefetchers follow what each load instruction reads: where more cache lines than this are read at once, the
 * steps of each are too long for them, and every further line costs a part of the time. Zen 4, AVX-512, one token: codes
 * of 8 and 6 bits in 32 lines take 1.25 to 1.3 times as long as in 16 and fewer, in 24 lines 1.12 times; NVFP4 in tiles of 4
 * row vectors 1.3 times as long as of 2; K types, whose headers have 20 lines then, 1.02 to 1.12 times.
 */
const FOLLOWED_LINES = 16;
const LINE_NOT_FOLLOWED = 0.017;
const overlapped = (a: number, b: number, notHidden: number) => Math.max(a, b) + notHidden * Math.min(a, b);
/** Of two limits that are near each other both are felt: 1.26 times as long where they are equal. */
const both = (a: number, b: number) => Math.cbrt(a ** 3 + b ** 3);

/**
 * Predicts the time of a blocking. A roofline with the instructions counted in the generated kernel, per thread; x ‖ y
 * is the longer and a part of the shorter:
 *
 *     compute = row tiles of the slowest thread · Σ cycles of the token steps' micro-GEMVs / clock
 *     cycles  = max(arithmetic / perCycle or products / productsPerCycle
 *                     ‖ loads / LOADS_PER_CYCLE + stores / STORES_PER_CYCLE,
 *                   all / ISSUED_PER_CYCLE, latency)
 *     data    = bytes of each level / what one thread draws from it
 *     seconds = both((compute ‖ data) + starts, all threads' bytes from memory / bandwidth of all) + barrier
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
  return predictWith(speeds, shape, blocking, tokens, describeMicro(speeds, isa, shape, blocking));
}

/** What is the same for all blockings with one `mu` and `tu`: the packed weights, the inputs, instructions. */
export interface Micro {
  /** What the micro-GEMV for so many tokens takes, or the expansion of its weights. */
  readonly cost: (tokens: number, piece: Piece) => MicroCost;
  readonly pack: Packing;
  readonly layout: ActivationLayout;
}

interface MicroCost {
  readonly cycles: number;
  readonly limit: ComputeLimit;
}

export function describeMicro(
  speeds: Speeds,
  isa: Isa,
  shape: ProjectionShape,
  { mu, tu }: Pick<Blocking, "mu" | "tu">,
): Micro {
  const { format, rows, cols } = shape;
  const known: Record<Piece, MicroCost[]> = { packed: [], expanded: [], expansion: [] };
  return {
    cost: (nu, piece) => {
      known[piece][nu] ??= microCost(speeds, isa, instructionsOf(isa, shape, { mu, tu, nu }, piece));
      return known[piece][nu];
    },
    pack: packing(format, rows, cols, tu / isa.lanes, isa),
    layout: layoutOf(shape, isa),
  };
}

/** `predict` for a machine whose speeds are known, and a known micro-GEMV. */
export function predictWith(
  speeds: Speeds,
  shape: ProjectionShape,
  blocking: Blocking,
  tokens: number,
  { cost, pack, layout }: Micro,
): Prediction {
  const { rows, cols } = shape;
  const rounds = roundsOf(blocking, pack, tokens, speeds.threads);
  const expanded = rounds.expandedSteps > 0 ? expandedPacking(pack, Math.min(blocking.mb, cols)) : undefined;
  const pieces = tokenSteps(blocking, tokens).map(({ size, count, expanded }) => ({
    ...cost(size, expanded ? "expanded" : "packed"),
    count,
  }));
  if (expanded !== undefined) pieces.push({ ...cost(1, "expansion"), count: 1 });
  const compute = computeCost(speeds, rounds, pieces);
  const data = dataCost(speeds, layout, blocking, rounds, pack, expanded);
  const inCaches = overlapped(compute.seconds, data.cache, CACHE_NOT_HIDDEN);
  const busy = overlapped(inCaches, data.thread, MEMORY_NOT_HIDDEN);
  const barrier = speeds.threads > 1 ? BARRIER_SECONDS : 0;
  const seconds = both(busy + compute.starts, data.shared) + barrier;
  const memorySeconds = both(data.thread, data.shared);
  return {
    computeSeconds: compute.seconds,
    memorySeconds,
    cacheSeconds: data.cache,
    overheadSeconds: compute.starts + barrier,
    seconds,
    bytes: pack.totalBytes,
    limit: longest([
      [compute.limit, compute.seconds],
      ["memory", memorySeconds],
      ["cache", data.cache],
      ["overhead", compute.starts + barrier],
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
  /** Starting micro-GEMVs. */
  readonly starts: number;
  readonly limit: ComputeLimit;
}

function computeCost(
  { ghz }: Speeds,
  { share, rowBlocks, inputBlocks, tokenSteps }: Rounds,
  pieces: readonly (MicroCost & { readonly count: number })[],
): ComputeCost {
  const cycle = 1e-9 / ghz;
  const most = pieces.reduce((a, b) => (b.count * b.cycles > a.count * a.cycles ? b : a));
  return {
    seconds: cycle * share * pieces.reduce((sum, { cycles, count }) => sum + count * cycles, 0),
    starts: cycle * tokenSteps * inputBlocks * (share * START_CYCLES + rowBlocks * TILE_LOOP_CYCLES),
    limit: most.limit,
  };
}

/**
 * Cycles of a micro-GEMV: its loops follow one another so fast that they overlap. A core that multiplies vectors in two
 * halves also loads and stores them so (Zen 4, 512 bits).
 */
function microCost({ productsPerCycle }: Speeds, { costs }: Isa, regions: readonly Region[]): MicroCost {
  const sum = (of: (region: Region) => number) => regions.reduce((n, r) => n + r.times * of(r), 0);
  const atOnce = productsPerCycle === undefined ? 1 : productsPerCycle / costs.perCycle;
  const arithmetic =
    Math.max(
      sum((r) => r.arithmetic),
      sum((r) => r.products) / atOnce,
    ) / costs.perCycle;
  const loads = sum((r) => r.loads / LOADS_PER_CYCLE + r.stores / STORES_PER_CYCLE) / atOnce;
  const all = sum((r) => r.arithmetic + r.loads + r.stores + r.scalar);
  const limits: readonly (readonly [ComputeLimit, number])[] = [
    [loads > arithmetic ? "loads" : "arithmetic", overlapped(arithmetic, loads, LOADS_NOT_HIDDEN)],
    ["issue", all / ISSUED_PER_CYCLE],
    ["latency", sum((r) => r.latency)],
  ];
  const [limit, cycles] = limits.reduce((a, b) => (b[1] > a[1] ? b : a));
  return { cycles, limit };
}

interface DataCost {
  /** The slowest thread's bytes from memory, at what one thread can draw. */
  readonly thread: number;
  /** All threads' bytes from memory, at what it gives to all; nothing where there is one thread. */
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
  expanded: Packing | undefined,
): DataCost {
  const traffic = trafficOf(capacity, layout, blocking, rounds, pack, threads, expanded);
  const { share, rowBlocks, inputBlocks, blockTiles } = rounds;
  const tiles = pack.panels > 1 ? rowBlocks : share * Math.min(1, blockTiles / STREAMS);
  const jumps = inputBlocks === 1 ? 0 : tiles * inputBlocks;
  return {
    thread: (traffic.memory / oneThreadGBs / 1e9) * notFollowed(pack) + jumps * MEMORY_LATENCY,
    shared: threads === 1 ? 0 : traffic.memoryOfAll / memoryGBs / 1e9,
    cache: (traffic.L2 / cacheGBs.L2 + traffic.L3 / cacheGBs.L3) / 1e9,
  };
}

/** How many times as long reading weights from memory takes because of `FOLLOWED_LINES`. */
function notFollowed(pack: Packing): number {
  return 1 + LINE_NOT_FOLLOWED * Math.max(0, linesAtOnce(pack) - FOLLOWED_LINES);
}

/** Cache lines of a header, or of the codes of a chunk: of half of it, if their words are read for half of its inputs. */
function linesAtOnce(pack: Packing): number {
  if (pack.format.kind === "float") return 0;
  return Math.max(pack.headerBytes, pack.chunkBytes * wordsForHalf(pack)) / LINE_BYTES;
}

/** Words that the first half of a chunk's inputs is in, of half of the words, where a group ends there. */
function wordsForHalf({ format, paired, codeBits }: Packing): number {
  const isHalf = format.kind === "quantized" && 2 * Number(format.group) === CHUNK;
  if (paired || !isHalf) return 1;
  const half = quads(codeBits).slice(0, CHUNK / 8);
  const words = new Set(half.flatMap((quad) => (quad.kind === "together" ? [quad.word] : [])));
  return words.size / (codeBits / 2);
}
