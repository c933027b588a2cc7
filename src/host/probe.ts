import {
  ARCHITECTURES,
  type Architecture,
  type CacheLevel,
  genericMachine,
  type Machine,
} from "../plan/machine.ts";
import { cgroupLimits } from "./cgroup.ts";
import { darwinCaches, darwinFeatures, parseSysctl, sysctlNumber } from "./cpu-darwin.ts";
import { parseCpuInfo, readAffinity, readCaches, readTopology, type Topology } from "./cpu-linux.ts";
import { readHugePages, readMemoryBytes, readPageBytes } from "./memory-linux.ts";
import { nodeSources, type ProbeSources } from "./sources.ts";

type Assume = (text: string) => void;

/**
 * Describes the machine this process runs on. Never fails: what cannot be found out is assumed, conservatively,
 * and `assumptions` says so. Takes milliseconds; measures nothing.
 */
export function probeMachine(sources: ProbeSources = nodeSources()): Machine {
  const assumptions: string[] = [];
  const assume: Assume = (text) => assumptions.push(text);
  if (sources.platform === "linux" || sources.platform === "android") {
    return { ...probeLinux(sources, assume), assumptions };
  }
  if (sources.platform === "darwin") return { ...probeDarwin(sources, assume), assumptions };
  return { ...probeOther(sources, assume), assumptions };
}

type Found = Omit<Machine, "assumptions">;

function probeLinux(sources: ProbeSources, assume: Assume): Found {
  const info = parseCpuInfo(sources.readFile("/proc/cpuinfo") ?? "");
  const topology = readTopology(sources, info, assume);
  const limits = cgroupLimits(sources, assume);
  const architecture = architectureOf(sources);
  const cores = coresAllowed(sources, topology, assume);
  return {
    name: info.name ?? sources.osCpus()[0] ?? architecture,
    architecture,
    features: info.features ?? baseline(architecture, assume),
    physicalCores: new Set(topology.values()).size,
    logicalCores: topology.size,
    threads: Math.max(1, Math.min(cores, Math.floor(limits.cpus))),
    caches: withAssumedCaches(readCaches(sources, topology), assume),
    pageBytes: readPageBytes(sources) ?? assumePage(assume),
    hugePages: readHugePages(sources),
    memoryBytes: Math.min(readMemoryBytes(sources) ?? sources.osMemoryBytes(), limits.memoryBytes),
  };
}

/**
 * Physical cores with at least one logical CPU that the affinity mask allows. Containers that renumber the CPUs
 * they show (lxcfs) can leave a mask that names none of them; then only its length counts.
 */
function coresAllowed(sources: ProbeSources, topology: Topology, assume: Assume): number {
  const allowed = readAffinity(sources);
  const cores = new Set(allowed?.flatMap((cpu) => topology.get(cpu) ?? [])).size;
  if (cores > 0) return cores;
  const usable = allowed?.length || sources.osParallelism();
  assume(`CPU affinity unknown: ${usable} logical CPUs assumed usable`);
  return Math.min(usable, new Set(topology.values()).size);
}

function probeDarwin(sources: ProbeSources, assume: Assume): Found {
  const sysctl = parseSysctl(sources.exec("/usr/sbin/sysctl", ["hw", "machdep.cpu"]) ?? "");
  const architecture = architectureOf(sources);
  const logicalCores = sysctlNumber(sysctl, "hw.logicalcpu") ?? Math.max(1, sources.osCpus().length);
  const physicalCores = sysctlNumber(sysctl, "hw.physicalcpu") ?? assumeCores(logicalCores, assume);
  return {
    name: sysctl.get("machdep.cpu.brand_string") || sources.osCpus()[0] || architecture,
    architecture,
    features: sysctl.size > 0 ? darwinFeatures(sysctl, sources.arch) : baseline(architecture, assume),
    physicalCores,
    logicalCores,
    threads: Math.min(physicalCores, Math.max(1, sources.osParallelism())),
    caches: withAssumedCaches(darwinCaches(sysctl), assume),
    pageBytes: sysctlNumber(sysctl, "hw.pagesize") ?? assumePage(assume),
    hugePages: "never",
    memoryBytes: sysctlNumber(sysctl, "hw.memsize") ?? sources.osMemoryBytes(),
  };
}

/** Windows and the rest: what the JavaScript engine can say. */
function probeOther(sources: ProbeSources, assume: Assume): Found {
  const architecture = architectureOf(sources);
  const logicalCores = Math.max(1, sources.osCpus().length);
  const physicalCores = assumeCores(logicalCores, assume);
  return {
    name: sources.osCpus()[0] || architecture,
    architecture,
    features: baseline(architecture, assume),
    physicalCores,
    logicalCores,
    threads: Math.min(physicalCores, Math.max(1, sources.osParallelism())),
    caches: withAssumedCaches([], assume),
    pageBytes: assumePage(assume),
    hugePages: "never",
    memoryBytes: sources.osMemoryBytes(),
  };
}

function architectureOf(sources: ProbeSources): Architecture {
  return ARCHITECTURES.find((name) => name === sources.arch) ?? "other";
}

/** What every CPU of the architecture has. */
function baseline(architecture: Architecture, assume: Assume): string[] {
  const features = { x64: ["sse", "sse2"], arm64: ["fp", "asimd"], wasm: [], other: [] }[architecture];
  assume(`CPU features unknown: ${features.join(", ") || "none"} assumed`);
  return features;
}

/** Levels 1 and 2 are needed to plan and are assumed where unknown; there may well be no third. */
function withAssumedCaches(found: readonly CacheLevel[], assume: Assume): CacheLevel[] {
  const assumed = genericMachine().caches.filter(
    ({ level }) => level < 3 && !found.some((cache) => cache.level === level),
  );
  for (const { level, bytes } of assumed)
    assume(`L${level} cache unknown: ${bytes / 1024} KiB a core assumed`);
  return [...found, ...assumed].sort((a, b) => a.level - b.level);
}

function assumeCores(logicalCores: number, assume: Assume): number {
  assume("topology unknown: every logical CPU is assumed to be a physical core");
  return logicalCores;
}

function assumePage(assume: Assume): number {
  assume("page size unknown: 4096 bytes assumed");
  return 4096;
}
