import { type Isa, isOneInstruction } from "../isa/isa.ts";
import { type Machine, smallestShares } from "./machine.ts";

/** Speeds and capacities of a machine as `threads` threads of one ISA see them. */
export interface Speeds {
  readonly threads: number;
  /** Clock, in 10⁹ cycles a second. */
  readonly ghz: number;
  /** Products that a core does in a cycle, where that was measured apart from its clock; else as many as of other ops. */
  readonly productsPerCycle: number | undefined;
  /** Streaming reads of memory, all threads together, 10⁹ bytes a second. */
  readonly memoryGBs: number;
  /** The same for one thread alone. */
  readonly oneThreadGBs: number;
  /** Bytes a thread draws from a cache, 10⁹ a second. */
  readonly cacheGBs: { readonly L2: number; readonly L3: number };
  /** Bytes of each cache that one thread may count on. */
  readonly capacity: { readonly L1: number; readonly L2: number; readonly L3: number };
  /** Which of clock and memory were not measured. */
  readonly assumed: readonly ("clock" | "memory")[];
}

/** Assumed without measurements: a core of the last decade under vector load. */
export const DEFAULT_GHZ = 3;
/** Assumed without measurements: one thread's streaming reads with 4 KiB pages. */
export const DEFAULT_THREAD_GBS = 10;
/** Assumed without measurements: two channels of DDR4-3200 at 80 % of their 51 GB/s. */
export const DEFAULT_MEMORY_GBS = 40;
/** Bytes per cycle and core from L2 (half a line: x86 cores since 2013) and from L3 (10 on Skylake-SP, 22 on Zen 3). */
const CACHE_BYTES_PER_CYCLE = { L2: 32, L3: 16 };
/** Links of a chain of the kernel that measures dot products. */
const CHAIN_LINKS = 8;
/** Two fused multiply-adds a cycle: every core with 256-bit FMA since Haswell and Zen 2. */
const FMAS_PER_CYCLE = 2;

export function speedsOf(machine: Machine, isa: Isa, threads: number): Speeds {
  const added = measuredAdds(machine, isa, threads);
  const clock = added?.ghz ?? measuredClock(machine, isa, threads);
  const ghz = clock ?? DEFAULT_GHZ;
  const assumed: Speeds["assumed"][number][] = [];
  if (clock === undefined) assumed.push("clock");
  if (!machine.measured?.readGBs.length) assumed.push("memory");
  return {
    threads,
    ghz,
    productsPerCycle: added?.productsPerCycle,
    memoryGBs: memoryGBs(machine, threads),
    oneThreadGBs: memoryGBs(machine, 1),
    cacheGBs: { L2: ghz * CACHE_BYTES_PER_CYCLE.L2, L3: ghz * CACHE_BYTES_PER_CYCLE.L3 },
    capacity: capacities(machine, threads),
    assumed,
  };
}

/**
 * The clock that explains the measured dot products: threads · clock · 2 operations · 4 · lanes · links per cycle, where
 * a link takes `dot` micro-ops and an eighth of a `dotClose`, and `perCycle` micro-ops go in a cycle. Where the core has
 * other ports than the table says, this "clock" absorbs it. Else from fused multiply-adds; 10⁹ cycles a second.
 */
function measuredClock(machine: Machine, isa: Isa, threads: number): number | undefined {
  const { costs, lanes } = isa;
  const of = <T extends { isa: string; threads: number }>(list: readonly T[] | undefined) =>
    nearest(list?.filter((m) => m.isa === isa.name) ?? [], threads);
  const int8 = of(machine.measured?.int8Gops);
  const linksPerCycle = costs.perCycle / (costs.dot + costs.dotClose / CHAIN_LINKS);
  if (int8) return int8.gops / int8.threads / (2 * 4 * lanes * linksPerCycle);
  const f32 = of(machine.measured?.f32Gflops);
  return f32 && f32.gflops / f32.threads / (2 * lanes * FMAS_PER_CYCLE);
}

/**
 * Clock and products per cycle of a core whose additions were measured, and whose dot product is one instruction: additions
 * go `perCycle` a cycle. A core of Zen 4 does one product of 512 bits in a cycle and two of anything else, one of Sapphire
 * Rapids two of both.
 */
function measuredAdds({ measured }: Machine, { name, lanes, costs }: Isa, threads: number) {
  const of = (list: readonly { isa: string; threads: number; gops: number }[] | undefined) =>
    nearest(list?.filter((m) => m.isa === name) ?? [], threads);
  const [adds, int8] = [of(measured?.addGops), of(measured?.int8Gops)];
  if (adds === undefined || int8 === undefined || !isOneInstruction(costs)) return undefined;
  const ghz = adds.gops / adds.threads / (lanes * costs.perCycle);
  const products = int8.gops / int8.threads / (2 * 4 * lanes) / ghz;
  return { ghz, productsPerCycle: Math.max(1, Math.min(products, costs.perCycle)) };
}

/** The measurement with the closest number of threads. */
function nearest<T extends { threads: number }>(list: readonly T[], threads: number): T | undefined {
  return [...list].sort((a, b) => Math.abs(a.threads - threads) - Math.abs(b.threads - threads))[0];
}

/**
 * Measured reads for `threads` threads: on the line between the neighbouring measurements, in proportion below the
 * first, flat above the last; huge pages where the machine gives them and they were measured. Else assumed.
 */
export function memoryGBs(machine: Machine, threads: number): number {
  const wanted = machine.hugePages === "always" || machine.hugePages === "madvise";
  const all = machine.measured?.readGBs ?? [];
  const same = all.filter((m) => m.hugePages === wanted);
  const points = [...(same.length > 0 ? same : all)].sort((a, b) => a.threads - b.threads);
  const above = points.find((m) => m.threads >= threads);
  const below = points.findLast((m) => m.threads <= threads);
  if (above && below) {
    const part = above === below ? 0 : (threads - below.threads) / (above.threads - below.threads);
    return below.gbs + part * (above.gbs - below.gbs);
  }
  if (above) return (above.gbs * threads) / above.threads;
  if (below) return below.gbs;
  return Math.min(DEFAULT_THREAD_GBS * threads, DEFAULT_MEMORY_GBS);
}

/** A cache that several cores share is divided by the threads that can run on them. */
function capacities(machine: Machine, threads: number): Speeds["capacity"] {
  const shares = smallestShares(machine.caches);
  const share = (level: 1 | 2 | 3) => {
    const cache = shares.find((c) => c.level === level);
    return cache ? Math.floor(cache.bytes / Math.min(cache.sharedBy, threads)) : 0;
  };
  const [L1, L2, L3] = [share(1), share(2), share(3)];
  return { L1, L2: Math.max(L1, L2), L3: Math.max(L1, L2, L3) };
}
