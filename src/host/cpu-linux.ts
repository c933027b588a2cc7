import { type CacheLevel, smallestShares } from "../plan/machine.ts";
import type { ProbeSources } from "./sources.ts";

const CPUS = "/sys/devices/system/cpu";

export interface CpuInfo {
  readonly name: string | undefined;
  /** What every core has. The kernel has already struck out what it does not enable (AVX-512 state, say). */
  readonly features: readonly string[] | undefined;
  /** Logical CPU → name of its physical core; empty where the kernel does not say (ARM). */
  readonly cores: ReadonlyMap<number, string>;
}

/** Online logical CPU → name of its physical core. */
export type Topology = ReadonlyMap<number, string>;

/** /proc/cpuinfo: a block of `key : value` lines for each logical CPU. */
export function parseCpuInfo(text: string): CpuInfo {
  const blocks = text.split(/\n\s*\n/).map(parseBlock);
  const cores = new Map<number, string>();
  for (const block of blocks) {
    const core = block.get("core id");
    if (core !== undefined)
      cores.set(Number(block.get("processor")), `${block.get("physical id") ?? 0}:${core}`);
  }
  const lists = new Set(blocks.map((block) => block.get("flags") ?? block.get("Features") ?? ""));
  lists.delete("");
  return { name: nameOf(blocks), features: intersection([...lists]), cores };
}

function parseBlock(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  return fields;
}

function intersection(lists: readonly string[]): string[] | undefined {
  const [first, ...others] = lists.map((list) => list.split(/\s+/));
  const sets = others.map((other) => new Set(other));
  return first?.filter((feature) => sets.every((set) => set.has(feature)));
}

function nameOf(blocks: readonly Map<string, string>[]): string | undefined {
  const names = blocks.map((block) => {
    const [implementer, part] = [block.get("CPU implementer"), block.get("CPU part")];
    if (block.has("model name")) return block.get("model name");
    return implementer && part ? (ARM_PARTS[`${implementer}:${part}`] ?? `ARM ${implementer}:${part}`) : "";
  });
  return [...new Set(names)].filter(Boolean).join(" + ") || undefined;
}

/** Implementer and part of the main id register (after util-linux lscpu-arm.c): the ones likely to be met. */
const ARM_PARTS: Readonly<Record<string, string>> = {
  "0x41:0xd03": "Cortex-A53",
  "0x41:0xd05": "Cortex-A55",
  "0x41:0xd08": "Cortex-A72",
  "0x41:0xd0b": "Cortex-A76",
  "0x41:0xd0c": "Neoverse-N1",
  "0x41:0xd40": "Neoverse-V1",
  "0x41:0xd41": "Cortex-A78",
  "0x41:0xd44": "Cortex-X1",
  "0x41:0xd49": "Neoverse-N2",
  "0x41:0xd4f": "Neoverse-V2",
  "0x41:0xd84": "Neoverse-V3",
  "0x41:0xd8e": "Neoverse-N3",
  "0x51:0x001": "Qualcomm Oryon",
  "0x61:0x022": "Apple M1 Icestorm",
  "0x61:0x023": "Apple M1 Firestorm",
  "0x61:0x032": "Apple M2 Blizzard",
  "0x61:0x033": "Apple M2 Avalanche",
  "0xc0:0xac3": "Ampere-1",
};

/** "0,2-3" → 0, 2, 3. */
export function parseCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const range of text.trim().split(",")) {
    const [first, last = first] = range.split("-").map((n) => Number.parseInt(n, 10));
    for (let cpu = first ?? Number.NaN; cpu <= (last ?? -1); cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** Which logical CPUs are online and which of them are one physical core (SMT siblings). */
export function readTopology(sources: ProbeSources, info: CpuInfo, assume: (text: string) => void): Topology {
  const cores = new Map<number, string>();
  let guessed = false;
  for (const cpu of onlineCpus(sources, info)) {
    const folder = `${CPUS}/cpu${cpu}/topology`;
    const siblings =
      sources.readFile(`${folder}/core_cpus_list`) ?? sources.readFile(`${folder}/thread_siblings_list`);
    const core = siblings?.trim() || info.cores.get(cpu);
    guessed ||= core === undefined;
    cores.set(cpu, core ?? `cpu${cpu}`);
  }
  if (guessed) assume("topology unknown: every logical CPU is assumed to be a physical core");
  return cores;
}

function onlineCpus(sources: ProbeSources, info: CpuInfo): number[] {
  const online = sources.readFile(`${CPUS}/online`);
  if (online) return parseCpuList(online);
  if (info.cores.size > 0) return [...info.cores.keys()];
  return Array.from({ length: Math.max(1, sources.osCpus().length) }, (_, cpu) => cpu);
}

/**
 * Logical CPUs this process may run on. Limits of cpuset control groups are already in it.
 * Undefined where /proc does not say.
 */
export function readAffinity(sources: ProbeSources): number[] | undefined {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(sources.readFile("/proc/self/status") ?? "")?.[1];
  return list === undefined ? undefined : parseCpuList(list);
}

/** Data and unified caches of every core in sysfs, as the smallest share at each level. */
export function readCaches(sources: ProbeSources, topology: Topology): CacheLevel[] {
  const caches: CacheLevel[] = [];
  const seen = new Set<string>();
  for (const [cpu, core] of topology) {
    if (seen.has(core)) continue;
    seen.add(core);
    for (const name of sources.listDir(`${CPUS}/cpu${cpu}/cache`)) {
      const cache =
        name.startsWith("index") && readCache(sources, `${CPUS}/cpu${cpu}/cache/${name}`, topology);
      if (cache) caches.push(cache);
    }
  }
  return smallestShares(caches);
}

function readCache(sources: ProbeSources, folder: string, topology: Topology): CacheLevel | undefined {
  const read = (file: string) => sources.readFile(`${folder}/${file}`)?.trim() ?? "";
  if (read("type") === "Instruction") return undefined;
  const level = Number(read("level"));
  const bytes = parseSize(read("size"));
  if ((level !== 1 && level !== 2 && level !== 3) || !bytes) return undefined;
  const cores = new Set(parseCpuList(read("shared_cpu_list")).map((cpu) => topology.get(cpu)));
  cores.delete(undefined);
  return {
    level,
    bytes,
    lineBytes: Number(read("coherency_line_size")) || 64,
    sharedBy: Math.max(1, cores.size),
  };
}

/** "32K", "1M" → bytes; NaN otherwise. */
function parseSize(text: string): number {
  const [, digits, unit] = /^(\d+)([KMG]?)$/.exec(text) ?? [];
  return Number(digits) * 1024 ** " KMG".indexOf(unit || " ");
}
