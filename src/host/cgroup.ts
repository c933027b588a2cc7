import type { ProbeSources } from "./sources.ts";

/** Limits that control groups put on this process; Infinity where there is none. */
export interface CgroupLimits {
  /** CPUs' worth of time, e.g. 1.5. */
  readonly cpus: number;
  readonly memoryBytes: number;
}

/** A control group this process is in: its path within the hierarchy that has these controllers. */
export interface Membership {
  /** Empty for the unified hierarchy (version 2). */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** A mounted hierarchy: `root` is the group that appears at `mountPoint`. */
export interface CgroupMount {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  readonly root: string;
  readonly mountPoint: string;
}

/** /proc/self/cgroup: lines `id:controller,controller:path`; version 2 is `0::path` (man 7 cgroups). */
export function parseMemberships(text: string): Membership[] {
  return [...text.matchAll(/^\d+:([^:]*):(.*)$/gm)].map((match) => ({
    controllers: (match[1] ?? "").split(",").filter(Boolean),
    path: match[2] ?? "/",
  }));
}

/**
 * /proc/self/mountinfo: `id parent device root mountPoint options [tags…] - type source superOptions`
 * (man 5 proc). The super options of a version 1 hierarchy name its controllers.
 */
export function parseCgroupMounts(text: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of text.split("\n")) {
    const [mount, filesystem] = line.split(" - ");
    const [, , , root, mountPoint] = (mount ?? "").split(" ");
    const [type, , superOptions] = (filesystem ?? "").split(" ");
    if (!root || !mountPoint || (type !== "cgroup" && type !== "cgroup2")) continue;
    mounts.push({
      version: type === "cgroup" ? 1 : 2,
      controllers: type === "cgroup" ? (superOptions ?? "").split(",") : [],
      root: unescapeOctal(root),
      mountPoint: unescapeOctal(mountPoint),
    });
  }
  return mounts;
}

/**
 * The least quota and memory limit from this process's group up to the top of what is mounted: every ancestor's
 * limit holds too. Both versions are read, since hybrid systems mount both.
 */
export function cgroupLimits(sources: ProbeSources, assume: (text: string) => void): CgroupLimits {
  const memberships = parseMemberships(sources.readFile("/proc/self/cgroup") ?? "");
  const mountinfo = sources.readFile("/proc/self/mountinfo");
  const mounts = parseCgroupMounts(mountinfo ?? "");
  if (memberships.length === 0 || mountinfo === undefined) assume("control groups unknown: no limit assumed");
  let cpus = Number.POSITIVE_INFINITY;
  let memoryBytes = Number.POSITIVE_INFINITY;
  for (const mount of mounts) {
    for (const folder of foldersOf(mount, memberships)) {
      cpus = Math.min(cpus, mount.version === 2 ? quotaV2(sources, folder) : quotaV1(sources, folder));
      memoryBytes = Math.min(memoryBytes, memoryLimit(sources, folder, mount.version));
    }
  }
  return { cpus, memoryBytes };
}

/** Folders of this process's group and its ancestors that can be seen below the mount point, deepest first. */
function foldersOf(mount: CgroupMount, memberships: readonly Membership[]): string[] {
  const member = memberships.find((m) =>
    mount.version === 2
      ? m.controllers.length === 0
      : m.controllers.some((controller) => mount.controllers.includes(controller)),
  );
  const folders: string[] = [];
  for (let path = member ? pathBelow(mount.root, member.path) : ""; path !== ""; ) {
    folders.push(mount.mountPoint + path);
    path = path.slice(0, path.lastIndexOf("/"));
  }
  return [...folders, mount.mountPoint];
}

/**
 * `path` relative to `root`: "" or "/a/b". In a container the two may belong to different namespaces (root
 * "/docker/id", path "/"; or paths with ".."); then the mount point is the process's own group.
 */
function pathBelow(root: string, path: string): string {
  const prefix = root === "/" ? "" : root;
  if (path.split("/").includes("..") || !`${path}/`.startsWith(`${prefix}/`)) return "";
  return path.slice(prefix.length).replace(/\/+$/, "");
}

/** cpu.max: "quota period" in microseconds, or "max period". */
function quotaV2(sources: ProbeSources, folder: string): number {
  const [quota, period] = (sources.readFile(`${folder}/cpu.max`) ?? "").trim().split(/\s+/);
  return quotient(quota, period);
}

/** The quota is −1 where there is none. */
function quotaV1(sources: ProbeSources, folder: string): number {
  return quotient(
    sources.readFile(`${folder}/cpu.cfs_quota_us`),
    sources.readFile(`${folder}/cpu.cfs_period_us`),
  );
}

function quotient(quota: string | undefined, period: string | undefined): number {
  const cpus = Number.parseInt(quota ?? "", 10) / Number.parseInt(period ?? "", 10);
  return cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

/** memory.high counts as a limit: above it the kernel reclaims until the process crawls. */
function memoryLimit(sources: ProbeSources, folder: string, version: 1 | 2): number {
  const files = version === 2 ? ["memory.max", "memory.high"] : ["memory.limit_in_bytes"];
  const limits = files
    .map((file) => Number.parseInt(sources.readFile(`${folder}/${file}`) ?? "", 10))
    .filter((bytes) => bytes > 0);
  return Math.min(Number.POSITIVE_INFINITY, ...limits);
}

/** Blanks in mountinfo are written \040, backslashes \134. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
