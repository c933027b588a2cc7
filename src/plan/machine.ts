import { z } from "zod";
import { FileFormatError } from "../base/errors.ts";
import { type Tuning, tuningSchema } from "./tuning.ts";

/**
 * The machine a plan is made for: plain data, so that it can be written to a file, edited, and planned for on
 * another machine.
 */
export interface Machine {
  /** CPU model, as the system spells it. */
  readonly name: string;
  readonly architecture: Architecture;
  /** What every core can do and the operating system allows, as Linux spells it: avx2, avx512_vnni, asimddp, … */
  readonly features: readonly string[];
  readonly physicalCores: number;
  readonly logicalCores: number;
  /** Threads this process may really use: the physical cores it may run on, at most its CPU quota, at least 1. */
  readonly threads: number;
  /** Data and unified caches, nearest first; where cores differ, the level with the smallest share per core. */
  readonly caches: readonly CacheLevel[];
  readonly pageBytes: number;
  /** Transparent huge pages for anonymous memory; "madvise": only where asked for. */
  readonly hugePages: HugePages;
  /** What this process may use: the physical memory or its limit, whichever is less. */
  readonly memoryBytes: number;
  readonly measured?: Measurements;
  /** Blockings that were timed here (`qigen tune`), which plans prefer to what they predict. */
  readonly tuned?: Tuning;
  /** What could not be found out, and the value assumed instead. */
  readonly assumptions: readonly string[];
}

export interface CacheLevel {
  readonly level: 1 | 2 | 3;
  readonly bytes: number;
  readonly lineBytes: number;
  /** Physical cores that share this cache. */
  readonly sharedBy: number;
}

/** Speeds that were timed, not looked up. */
export interface Measurements {
  /** Streaming reads of memory, all threads together, in 10⁹ bytes a second: the median of some passes. */
  readonly readGBs: readonly {
    readonly threads: number;
    readonly hugePages: boolean;
    readonly gbs: number;
    /** The fastest pass: what the memory can do when nothing else uses it. */
    readonly maxGbs?: number;
  }[];
  /** int8 dot products, all threads together, in 10⁹ operations a second (a multiply-add is two). */
  readonly int8Gops: readonly { readonly isa: string; readonly threads: number; readonly gops: number }[];
  /** f32 fused multiply-adds, all threads together, in 10⁹ operations a second (a multiply-add is two). */
  readonly f32Gflops: readonly { readonly isa: string; readonly threads: number; readonly gflops: number }[];
  /** i32 additions, all threads together, in 10⁹ a second; of instruction sets whose dot product is one instruction. */
  readonly addGops?: readonly { readonly isa: string; readonly threads: number; readonly gops: number }[];
  /** When, as ISO 8601. */
  readonly at: string;
}

export const ARCHITECTURES = ["x64", "arm64", "wasm", "other"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

export const HUGE_PAGES = ["always", "madvise", "never", "unknown"] as const;
export type HugePages = (typeof HUGE_PAGES)[number];

/**
 * Stated defaults, for tests and for planning without a probe: x86-64-v3 with the smallest caches of that class
 * (L2 of client Skylake), four cores, 8 GiB. `over` replaces single fields.
 */
export function genericMachine(over: Partial<Machine> = {}): Machine {
  return {
    name: "generic",
    architecture: "x64",
    features: ["avx", "avx2", "f16c", "fma"],
    physicalCores: 4,
    logicalCores: 4,
    threads: 4,
    caches: [
      { level: 1, bytes: 32 * 1024, lineBytes: 64, sharedBy: 1 },
      { level: 2, bytes: 256 * 1024, lineBytes: 64, sharedBy: 1 },
      { level: 3, bytes: 8 * 1024 * 1024, lineBytes: 64, sharedBy: 4 },
    ],
    pageBytes: 4096,
    hugePages: "unknown",
    memoryBytes: 8 * 1024 ** 3,
    assumptions: ["generic machine: every value is assumed"],
    ...over,
  };
}

/**
 * For each level the cache with the smallest share per core, nearest first. Threads may run on any core, so on a
 * machine with several kinds of core a block that fits the smallest share fits everywhere.
 */
export function smallestShares(caches: readonly CacheLevel[]): CacheLevel[] {
  const best = new Map<number, CacheLevel>();
  for (const cache of caches) {
    const known = best.get(cache.level);
    if (!known || cache.bytes / cache.sharedBy < known.bytes / known.sharedBy) best.set(cache.level, cache);
  }
  return [...best.values()].sort((a, b) => a.level - b.level);
}

const MAX_TEXT = 1 << 20;
const text = z.string().min(1).max(256);
const threads = z.int().min(1).max(65536);
const speed = z.number().positive().max(1e9);
const isPowerOfTwo = (n: number) => Number.isInteger(Math.log2(n));

const cacheSchema = z.strictObject({
  level: z.literal([1, 2, 3]),
  bytes: z
    .int()
    .min(1024)
    .max(2 ** 40),
  lineBytes: z.int().min(16).max(4096).refine(isPowerOfTwo, "must be a power of two"),
  sharedBy: threads,
});

const gops = z.array(z.strictObject({ isa: text, threads, gops: speed })).max(1024);

/** What `Measurements` has besides its time. */
export const MEASURED_SPEEDS = {
  readGBs: z
    .array(z.strictObject({ threads, hugePages: z.boolean(), gbs: speed, maxGbs: speed.exactOptional() }))
    .max(1024),
  int8Gops: gops,
  f32Gflops: z.array(z.strictObject({ isa: text, threads, gflops: speed })).max(1024),
  addGops: gops.exactOptional(),
};

const machineSchema: z.ZodType<Machine> = z
  .strictObject({
    name: text,
    architecture: z.enum(ARCHITECTURES),
    features: z.array(text).max(1024),
    physicalCores: threads,
    logicalCores: threads,
    threads,
    caches: z.array(cacheSchema).min(1).max(3),
    pageBytes: z
      .int()
      .min(1024)
      .max(2 ** 24)
      .refine(isPowerOfTwo, "must be a power of two"),
    hugePages: z.enum(HUGE_PAGES),
    memoryBytes: z.int().min(2 ** 20),
    measured: z.strictObject({ ...MEASURED_SPEEDS, at: text }).exactOptional(),
    tuned: tuningSchema.exactOptional(),
    assumptions: z.array(z.string().max(1024)).max(256),
  })
  .refine((m) => m.physicalCores <= m.logicalCores, {
    path: ["physicalCores"],
    message: "must be at most logicalCores",
  })
  .refine((m) => m.threads <= m.logicalCores, { path: ["threads"], message: "must be at most logicalCores" })
  .refine((m) => m.caches.every((cache, i) => i === 0 || cache.level > m.caches[i - 1]!.level), {
    path: ["caches"],
    message: "must be in order of level, one each",
  });

/**
 * Reads a machine description, as `JSON.stringify` wrote it or a person did. Unknown fields are errors, since a
 * misspelt one would silently change nothing. `file` is named in errors.
 *
 * @throws FileFormatError naming the first wrong field
 */
export function parseMachine(json: string, file: string): Machine {
  if (json.length > MAX_TEXT) throw new FileFormatError(file, "size", `more than ${MAX_TEXT} characters`);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new FileFormatError(file, "JSON", (cause as Error).message);
  }
  const result = machineSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new FileFormatError(file, issue?.path.join(".") || "machine", issue?.message ?? "not a machine");
}
