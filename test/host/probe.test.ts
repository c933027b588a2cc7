import { availableParallelism } from "node:os";
import { describe, expect, test } from "vitest";
import { FileFormatError } from "../../src/base/errors.ts";
import { cgroupLimits, parseCgroupMounts, parseMemberships } from "../../src/host/cgroup.ts";
import { parseCpuInfo, parseCpuList } from "../../src/host/cpu-linux.ts";
import { parsePageBytes } from "../../src/host/memory-linux.ts";
import { probeMachine } from "../../src/host/probe.ts";
import { genericMachine, parseMachine } from "../../src/plan/machine.ts";
import { asahi, auxv, common, graviton3, INTEL_MAC, intelHybrid, linux, M1_PRO, zen4 } from "./machines.ts";

const KiB = 1024;
const MiB = 1024 * 1024;

describe("Linux machines", () => {
  test("Zen 4: SMT siblings are one core, AVX-512 flags come through", () => {
    const machine = probeMachine(linux(zen4()));
    expect(machine).toMatchObject({
      name: "AMD Ryzen 7 7700 8-Core Processor",
      architecture: "x64",
      physicalCores: 8,
      logicalCores: 16,
      threads: 8,
      caches: [
        { level: 1, bytes: 32 * KiB, lineBytes: 64, sharedBy: 1 },
        { level: 2, bytes: MiB, lineBytes: 64, sharedBy: 1 },
        { level: 3, bytes: 32 * MiB, lineBytes: 64, sharedBy: 8 },
      ],
      pageBytes: 4096,
      hugePages: "madvise",
      memoryBytes: 65536000 * 1024,
      assumptions: [],
    });
    expect(machine.features).toEqual(expect.arrayContaining(["avx512f", "avx512bw", "avx512_vnni"]));
  });

  test("Intel hybrid: each level is the smallest share of a core", () => {
    const machine = probeMachine(linux(intelHybrid()));
    expect(machine).toMatchObject({ physicalCores: 6, logicalCores: 8, threads: 6, assumptions: [] });
    expect(machine.caches).toEqual([
      { level: 1, bytes: 32 * KiB, lineBytes: 64, sharedBy: 1 },
      { level: 2, bytes: 4 * MiB, lineBytes: 64, sharedBy: 4 },
      { level: 3, bytes: 12 * MiB, lineBytes: 64, sharedBy: 6 },
    ]);
  });

  test("Graviton 3: named by part, features from the Features line", () => {
    const machine = probeMachine(linux(graviton3(), { arch: "arm64" }));
    expect(machine).toMatchObject({ name: "Neoverse-V1", architecture: "arm64", threads: 4 });
    expect(machine.features).toEqual(expect.arrayContaining(["asimddp", "i8mm"]));
  });

  test("no cache description and no topology: assumed, and said", () => {
    const machine = probeMachine(
      linux(asahi(), { arch: "arm64", readBytes: () => undefined, exec: () => "16384\n" }),
    );
    expect(machine.name).toBe("Apple M1 Icestorm + Apple M1 Firestorm");
    expect(machine.pageBytes).toBe(16384);
    expect(machine.caches.map(({ level }) => level)).toEqual([1, 2]);
    expect(machine.assumptions).toEqual([
      "topology unknown: every logical CPU is assumed to be a physical core",
      "L1 cache unknown: 32 KiB a core assumed",
      "L2 cache unknown: 256 KiB a core assumed",
    ]);
  });

  test.each([
    ["0,2-3", 3],
    ["0,8", 1],
    ["0-7", 8],
    ["40-43", 4], // renumbered CPUs: only the length counts
  ])("affinity %s on 8 cores with SMT → %i threads", (allowed, threads) => {
    expect(probeMachine(linux({ ...zen4(), ...common(allowed) })).threads).toBe(threads);
  });

  test.each([
    ["[always] madvise never", "always"],
    ["always madvise [never]", "never"],
    ["", "unknown"],
  ])("transparent huge pages %j → %s", (text, expected) => {
    const files = { ...zen4(), "/sys/kernel/mm/transparent_hugepage/enabled": text };
    expect(probeMachine(linux(files)).hugePages).toBe(expected);
  });

  test("a process that is denied huge pages has none", () => {
    const files = { ...zen4(), "/proc/self/status": "THP_enabled:\t0\nCpus_allowed_list:\t0-15\n" };
    expect(probeMachine(linux(files)).hugePages).toBe("never");
  });

  test("nothing readable at all: a usable machine, every assumption said", () => {
    const machine = probeMachine(linux({}, { readBytes: () => undefined }));
    expect(machine).toMatchObject({
      name: "os model",
      features: ["sse", "sse2"],
      physicalCores: 2,
      threads: 2,
      pageBytes: 4096,
      memoryBytes: 2 ** 34,
      hugePages: "unknown",
    });
    expect(machine.assumptions).toEqual([
      "topology unknown: every logical CPU is assumed to be a physical core",
      "control groups unknown: no limit assumed",
      "CPU affinity unknown: 2 logical CPUs assumed usable",
      "CPU features unknown: sse, sse2 assumed",
      "L1 cache unknown: 32 KiB a core assumed",
      "L2 cache unknown: 256 KiB a core assumed",
      "page size unknown: 4096 bytes assumed",
    ]);
    expect(parseMachine(JSON.stringify(machine), "machine.json")).toEqual(machine);
  });
});

describe("control groups", () => {
  const limitsOf = (files: Record<string, string>) => {
    const notes: string[] = [];
    return { ...cgroupLimits(linux(files), (text) => notes.push(text)), notes };
  };

  test.each([
    ["150000 100000", 1],
    ["350000 100000", 3],
    ["50000 100000", 1],
    ["max 100000", 8],
  ])("cpu.max %j → %i threads", (text, threads) => {
    const machine = probeMachine(linux({ ...zen4(), "/sys/fs/cgroup/cpu.max": `${text}\n` }));
    expect(machine.threads).toBe(threads);
  });

  test("version 2: the least of every ancestor holds, memory.high counts", () => {
    const files = {
      "/proc/self/cgroup": "0::/user.slice/app.scope\n",
      "/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/user.slice/app.scope/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/user.slice/app.scope/memory.max": "max\n",
      "/sys/fs/cgroup/user.slice/app.scope/memory.high": "3221225472\n",
      "/sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
      "/sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
    };
    expect(limitsOf(files)).toEqual({ cpus: 4, memoryBytes: 3 * 1024 ** 3, notes: [] });
  });

  test("version 1: quota and memory in hierarchies of their own, −1 and 2⁶³ are no limit", () => {
    const files = {
      "/proc/self/cgroup": "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/\n0::/\n",
      "/proc/self/mountinfo": [
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
      ].join("\n"),
      "/sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "250000\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": "1073741824\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    };
    expect(limitsOf(files)).toEqual({ cpus: 2.5, memoryBytes: 1024 ** 3, notes: [] });
    expect(probeMachine(linux({ ...zen4(), ...files }))).toMatchObject({
      threads: 2,
      memoryBytes: 1024 ** 3,
    });
  });

  test.each([
    ["a bind mount of the own group", "/docker/ab", "/docker/ab"],
    ["a path of another namespace", "/docker/ab", "/"],
    ["a path above the namespace", "/", "/../../other"],
    ["a sibling with the same beginning", "/docker/ab", "/docker/abc"],
  ])("container with %s: the mount point is the group", (_, root, path) => {
    const files = {
      "/proc/self/cgroup": `0::${path}\n`,
      "/proc/self/mountinfo": `31 23 0:28 ${root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n`,
      "/sys/fs/cgroup/cpu.max": "200000 100000\n",
      "/sys/fs/cgroup/c/cpu.max": "100000 100000\n",
    };
    expect(limitsOf(files).cpus).toBe(2);
  });

  test("mount points with blanks, groups with colons", () => {
    const [mount] = parseCgroupMounts("1 2 0:3 /a\\040b /mnt/c\\040d rw - cgroup2 none rw\n");
    expect(mount).toEqual({ version: 2, controllers: [], root: "/a b", mountPoint: "/mnt/c d" });
    expect(parseMemberships("0::/a:b\n2:cpu:/\n")).toEqual([
      { controllers: [], path: "/a:b" },
      { controllers: ["cpu"], path: "/" },
    ]);
  });
});

describe("parsers", () => {
  test("CPU lists", () => {
    expect(parseCpuList("0,2-3\n")).toEqual([0, 2, 3]);
    expect(parseCpuList("")).toEqual([]);
  });

  test("features are what all cores have", () => {
    const text = "processor: 0\nFeatures: fp asimd i8mm\n\nprocessor: 1\nFeatures: fp asimd\n";
    expect(parseCpuInfo(text).features).toEqual(["fp", "asimd"]);
    expect(parseCpuInfo("").features).toBeUndefined();
  });

  test("the page size in an auxiliary vector, cut short or not", () => {
    expect(parsePageBytes(auxv(65536))).toBe(65536);
    expect(parsePageBytes(auxv(65536).subarray(0, 20))).toBeUndefined();
  });
});

describe("other systems", () => {
  test("Apple CPU", () => {
    const sources = linux(
      {},
      { platform: "darwin", arch: "arm64", exec: () => M1_PRO, osParallelism: () => 10 },
    );
    const machine = probeMachine(sources);
    expect(machine).toMatchObject({
      name: "Apple M1 Pro",
      features: ["fp", "asimd", "asimddp", "asimdhp"],
      physicalCores: 10,
      threads: 10,
      pageBytes: 16384,
      hugePages: "never",
      memoryBytes: 2 ** 34,
      assumptions: [],
    });
    expect(machine.caches).toEqual([
      { level: 1, bytes: 64 * KiB, lineBytes: 128, sharedBy: 1 },
      { level: 2, bytes: 4 * MiB, lineBytes: 128, sharedBy: 2 },
    ]);
  });

  test("Intel Mac", () => {
    const sources = linux({}, { platform: "darwin", exec: () => INTEL_MAC, osParallelism: () => 12 });
    const machine = probeMachine(sources);
    expect(machine).toMatchObject({ physicalCores: 6, logicalCores: 12, threads: 6, assumptions: [] });
    expect(machine.features).toEqual(expect.arrayContaining(["avx", "avx2", "fma", "f16c", "sse4_1"]));
    expect(machine.caches.map(({ sharedBy }) => sharedBy)).toEqual([1, 1, 6]);
  });

  test.each(["darwin", "win32"])("%s with nothing to ask: assumptions", (platform) => {
    const machine = probeMachine(linux({}, { platform }));
    expect(machine.threads).toBe(2);
    expect(machine.assumptions).toContain("CPU features unknown: sse, sse2 assumed");
    expect(parseMachine(JSON.stringify(machine), "machine.json")).toEqual(machine);
  });

  test("this machine", () => {
    const machine = probeMachine();
    expect(machine.threads).toBeGreaterThanOrEqual(1);
    expect(machine.threads).toBeLessThanOrEqual(availableParallelism());
    expect(parseMachine(JSON.stringify(machine), "machine.json")).toEqual(machine);
  });
});

describe("machine descriptions", () => {
  const broken = (change: Record<string, unknown>) => () =>
    parseMachine(JSON.stringify({ ...genericMachine(), ...change }), "m.json");

  test("the generic one reads back, with measurements too", () => {
    const measured = {
      readGBs: [{ threads: 2, hugePages: true, gbs: 29 }],
      int8Gops: [],
      f32Gflops: [],
      at: "now",
    };
    const machine = genericMachine({ name: "mine", measured });
    expect(parseMachine(JSON.stringify(machine), "m.json")).toEqual(machine);
  });

  test.each([
    [{ threads: 0 }, "threads"],
    [{ threads: 5 }, "threads"],
    [{ physicalCores: 8 }, "physicalCores"],
    [{ threads: 1.5 }, "threads"],
    [{ memoryBytes: 1e300 }, "memoryBytes"],
    [{ pageBytes: 5000 }, "pageBytes"],
    [{ caches: [] }, "caches"],
    [{ caches: [{ level: 4, bytes: 32768, lineBytes: 64, sharedBy: 1 }] }, "caches.0.level"],
    [{ caches: [...genericMachine().caches].reverse() }, "caches"],
    [{ features: "avx2" }, "features"],
    [{ measured: { readGBs: [] } }, "measured.int8Gops"],
    [{ thread: 3 }, "machine"],
  ])("%j is refused by name", (change, field) => {
    expect(broken(change)).toThrow(FileFormatError);
    expect(broken(change)).toThrow(`m.json: ${field}:`);
  });

  test("not JSON, not a machine, too long", () => {
    expect(() => parseMachine("{", "m.json")).toThrow("m.json: JSON:");
    expect(() => parseMachine("null", "m.json")).toThrow("m.json: machine:");
    expect(() => parseMachine(" ".repeat(2 ** 21), "m.json")).toThrow("m.json: size:");
  });
});
