import type { ProbeSources } from "../../src/host/sources.ts";

/** Recorded machines: the files a probe reads, shortened to what it looks at. */

type Files = Record<string, string>;

/** A Linux machine made of these files; /proc/self/auxv says 4 KiB pages unless the files say otherwise. */
export function linux(files: Files, over: Partial<ProbeSources> = {}): ProbeSources {
  return {
    platform: "linux",
    arch: "x64",
    readFile: (path) => files[path],
    readBytes: (path) => (path === "/proc/self/auxv" ? auxv(4096) : undefined),
    listDir: (path) => childrenOf(files, path),
    exec: () => undefined,
    osCpus: () => ["os model", "os model"],
    osMemoryBytes: () => 2 ** 34,
    osParallelism: () => 2,
    ...over,
  };
}

function childrenOf(files: Files, folder: string): string[] {
  const below = Object.keys(files).filter((path) => path.startsWith(`${folder}/`));
  return [...new Set(below.map((path) => path.slice(folder.length + 1).split("/")[0]!))];
}

/** AT_PHDR, AT_PAGESZ, AT_NULL. */
export function auxv(pageBytes: number): Uint8Array {
  const words = new BigUint64Array([3n, 0x55d0n, 6n, BigInt(pageBytes), 0n, 0n]);
  return new Uint8Array(words.buffer);
}

export interface CpuFile {
  readonly cpu: number;
  /** Logical CPUs of its core, as sysfs lists them. */
  readonly siblings: string;
  /** level, type, size, shared_cpu_list */
  readonly caches: readonly (readonly [number, string, string, string])[];
}

/** Topology and caches under /sys/devices/system/cpu. */
export function sysfs(cpus: readonly CpuFile[]): Files {
  const files: Files = { "/sys/devices/system/cpu/online": `0-${cpus.length - 1}\n` };
  for (const { cpu, siblings, caches } of cpus) {
    const folder = `/sys/devices/system/cpu/cpu${cpu}`;
    files[`${folder}/topology/thread_siblings_list`] = `${siblings}\n`;
    caches.forEach(([level, type, size, shared], index) => {
      const cache = `${folder}/cache/index${index}`;
      files[`${cache}/level`] = `${level}\n`;
      files[`${cache}/type`] = `${type}\n`;
      files[`${cache}/size`] = `${size}\n`;
      files[`${cache}/shared_cpu_list`] = `${shared}\n`;
      files[`${cache}/coherency_line_size`] = "64\n";
    });
  }
  return files;
}

/** What every recorded Linux machine has unless it says otherwise. */
export function common(allowed: string): Files {
  return {
    "/proc/self/status": `Name:\tnode\nTHP_enabled:\t1\nCpus_allowed_list:\t${allowed}\n`,
    "/proc/meminfo": "MemTotal:       65536000 kB\nMemFree:        1000 kB\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
  };
}

function x86Info(model: string, flags: string, cores: readonly number[]): string {
  return cores
    .map(
      (core, cpu) =>
        `processor\t: ${cpu}\nvendor_id\t: x\nmodel name\t: ${model}\nphysical id\t: 0\ncore id\t\t: ${core}\nflags\t\t: ${flags}\n`,
    )
    .join("\n");
}

function armInfo(features: string, implementer: string, parts: readonly string[]): string {
  return parts
    .map(
      (part, cpu) =>
        `processor\t: ${cpu}\nBogoMIPS\t: 50.00\nFeatures\t: ${features}\nCPU implementer\t: ${implementer}\nCPU architecture: 8\nCPU part\t: ${part}\n`,
    )
    .join("\n");
}

/** Eight cores, sixteen threads (siblings 8 apart), one 32 MiB L3. */
export function zen4(): Files {
  const cpus = Array.from({ length: 16 }, (_, cpu): CpuFile => {
    const pair = `${cpu % 8},${(cpu % 8) + 8}`;
    const caches = [
      [1, "Data", "32K", pair],
      [1, "Instruction", "32K", pair],
      [2, "Unified", "1024K", pair],
      [3, "Unified", "32768K", "0-15"],
    ] as const;
    return { cpu, siblings: pair, caches };
  });
  const flags = "fpu sse sse2 fma f16c avx avx2 avx512f avx512bw avx512vl avx512_vnni avx512_bf16";
  return {
    ...common("0-15"),
    ...sysfs(cpus),
    "/proc/cpuinfo": x86Info(
      "AMD Ryzen 7 7700 8-Core Processor",
      flags,
      cpus.map(({ cpu }) => cpu % 8),
    ),
  };
}

/** Two performance cores with two threads each, four efficiency cores that share an L2. */
export function intelHybrid(): Files {
  const performance = Array.from({ length: 4 }, (_, cpu): CpuFile => {
    const pair = cpu < 2 ? "0-1" : "2-3";
    const caches = [
      [1, "Data", "48K", pair],
      [1, "Instruction", "32K", pair],
      [2, "Unified", "2048K", pair],
      [3, "Unified", "12288K", "0-7"],
    ] as const;
    return { cpu, siblings: pair, caches };
  });
  const efficiency = [4, 5, 6, 7].map((cpu): CpuFile => {
    const caches = [
      [1, "Data", "32K", `${cpu}`],
      [1, "Instruction", "64K", `${cpu}`],
      [2, "Unified", "4096K", "4-7"],
      [3, "Unified", "12288K", "0-7"],
    ] as const;
    return { cpu, siblings: `${cpu}`, caches };
  });
  return {
    ...common("0-7"),
    ...sysfs([...performance, ...efficiency]),
    "/proc/cpuinfo": x86Info(
      "13th Gen Intel(R) Core(TM) i5",
      "sse2 avx avx2 fma f16c avx_vnni",
      [0, 0, 4, 4, 8, 9, 10, 11],
    ),
  };
}

/** Four Neoverse-V1 cores; 32 MiB system cache. */
export function graviton3(): Files {
  const cpus = [0, 1, 2, 3].map((cpu): CpuFile => {
    const caches = [
      [1, "Data", "64K", `${cpu}`],
      [1, "Instruction", "64K", `${cpu}`],
      [2, "Unified", "1024K", `${cpu}`],
      [3, "Unified", "32768K", "0-3"],
    ] as const;
    return { cpu, siblings: `${cpu}`, caches };
  });
  const features = "fp asimd evtstrm aes atomics fphp asimdhp asimddp sve i8mm bf16";
  return {
    ...common("0-3"),
    ...sysfs(cpus),
    "/proc/cpuinfo": armInfo(features, "0x41", ["0xd40", "0xd40", "0xd40", "0xd40"]),
  };
}

/** Linux on an Apple M1: two kinds of core, no cache description. */
export function asahi(): Files {
  return {
    ...common("0-1"),
    "/sys/devices/system/cpu/online": "0-1\n",
    "/proc/cpuinfo": armInfo("fp asimd asimddp", "0x61", ["0x022", "0x023"]),
  };
}

/** `sysctl hw machdep.cpu` of an M1 Pro, shortened. */
export const M1_PRO = `hw.physicalcpu: 10
hw.logicalcpu: 10
hw.memsize: 17179869184
hw.pagesize: 16384
hw.cachelinesize: 128
hw.nperflevels: 2
hw.perflevel0.physicalcpu: 8
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 12582912
hw.perflevel0.cpusperl2: 4
hw.perflevel1.physicalcpu: 2
hw.perflevel1.l1dcachesize: 65536
hw.perflevel1.l2cachesize: 4194304
hw.perflevel1.cpusperl2: 2
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_I8MM: 0
machdep.cpu.brand_string: Apple M1 Pro
`;

/** The same of an Intel Mac: six cores, twelve threads. */
export const INTEL_MAC = `hw.physicalcpu: 6
hw.logicalcpu: 12
hw.memsize: 34359738368
hw.pagesize: 4096
hw.cachelinesize: 64
hw.cacheconfig: 12 2 2 12 0 0 0 0 0 0
hw.l1dcachesize: 32768
hw.l2cachesize: 262144
hw.l3cachesize: 12582912
machdep.cpu.brand_string: Intel(R) Core(TM) i7-8750H CPU @ 2.20GHz
machdep.cpu.features: FPU SSE SSE2 SSE4.1 FMA AVX1.0 F16C
machdep.cpu.leaf7_features: BMI1 AVX2 BMI2
`;
