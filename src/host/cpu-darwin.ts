import { type CacheLevel, smallestShares } from "../plan/machine.ts";

/** Numbers and texts of `sysctl hw machdep.cpu`, by name. */
export type Sysctl = ReadonlyMap<string, string>;

/** Lines `name: value`. */
export function parseSysctl(text: string): Sysctl {
  return new Map([...text.matchAll(/^([\w.]+):[ \t]*(.*)$/gm)].map((match) => [match[1]!, match[2]!.trim()]));
}

export function sysctlNumber(sysctl: Sysctl, name: string): number | undefined {
  const value = Number.parseInt(sysctl.get(name) ?? "", 10);
  return value > 0 ? value : undefined;
}

/** Apple's names of what Linux calls otherwise; every other name only differs in case. */
const X86_NAMES: Readonly<Record<string, string>> = {
  "avx1.0": "avx",
  "sse4.1": "sse4_1",
  "sse4.2": "sse4_2",
  avx512vnni: "avx512_vnni",
  avx512bf16: "avx512_bf16",
};

const ARM_NAMES: Readonly<Record<string, string>> = {
  FEAT_FP16: "asimdhp",
  FEAT_DotProd: "asimddp",
  FEAT_I8MM: "i8mm",
  FEAT_BF16: "bf16",
  FEAT_LSE: "atomics",
  FEAT_SME: "sme",
  FEAT_SME2: "sme2",
};

/** CPU features under their Linux names. Every Mac with an Apple CPU has dot products; old systems do not say so. */
export function darwinFeatures(sysctl: Sysctl, arch: string): string[] {
  if (arch === "arm64") {
    const optional = Object.entries(ARM_NAMES)
      .filter(([apple]) => sysctl.get(`hw.optional.arm.${apple}`) === "1")
      .map(([, linux]) => linux);
    return [...new Set(["fp", "asimd", "asimddp", ...optional])];
  }
  const listed = ["machdep.cpu.features", "machdep.cpu.leaf7_features", "machdep.cpu.extfeatures"]
    .flatMap((name) => (sysctl.get(name) ?? "").toLowerCase().split(/\s+/))
    .filter(Boolean);
  return listed.map((name) => X86_NAMES[name] ?? name);
}

/** Caches by kind of core ("performance levels") on Apple CPUs, by `hw.cacheconfig` on Intel ones. */
export function darwinCaches(sysctl: Sysctl): CacheLevel[] {
  const number = (name: string) => sysctlNumber(sysctl, name);
  const lineBytes = number("hw.cachelinesize") ?? 64;
  const caches: CacheLevel[] = [];
  const add = (level: 1 | 2 | 3, bytes: number | undefined, sharedBy: number) => {
    if (bytes) caches.push({ level, bytes, lineBytes, sharedBy });
  };
  const kinds = number("hw.nperflevels") ?? 0;
  for (let kind = 0; kind < kinds; kind++) {
    const key = `hw.perflevel${kind}`;
    add(1, number(`${key}.l1dcachesize`), 1);
    add(2, number(`${key}.l2cachesize`), number(`${key}.cpusperl2`) ?? 1);
  }
  if (caches.length === 0) {
    const perCore = (number("hw.logicalcpu") ?? 1) / (number("hw.physicalcpu") ?? 1);
    const sharing = (sysctl.get("hw.cacheconfig") ?? "").split(" ").map((n) => Number(n) / perCore);
    for (const level of [1, 2, 3] as const) {
      const size = number(level === 1 ? "hw.l1dcachesize" : `hw.l${level}cachesize`);
      add(level, size, Math.max(1, Math.round(sharing[level] || 1)));
    }
  }
  return smallestShares(caches);
}
