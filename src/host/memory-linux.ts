import type { HugePages } from "../plan/machine.ts";
import type { ProbeSources } from "./sources.ts";

const AT_PAGESZ = 6n;

/** Bytes of a page, from the auxiliary vector the kernel gave this process (man 3 getauxval), else getconf. */
export function readPageBytes(sources: ProbeSources): number | undefined {
  const bytes = parsePageBytes(sources.readBytes("/proc/self/auxv") ?? new Uint8Array());
  return bytes ?? (Number.parseInt(sources.exec("getconf", ["PAGESIZE"]) ?? "", 10) || undefined);
}

/** AT_PAGESZ in an auxiliary vector of 64-bit little-endian (type, value) pairs. */
export function parsePageBytes(auxv: Uint8Array): number | undefined {
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.byteLength);
  for (let offset = 0; offset + 16 <= view.byteLength; offset += 16) {
    if (view.getBigUint64(offset, true) === AT_PAGESZ) return Number(view.getBigUint64(offset + 8, true));
  }
  return undefined;
}

/** The choice in brackets, "always [madvise] never"; a process can also be denied huge pages on its own (prctl). */
export function readHugePages(sources: ProbeSources): HugePages {
  if (/^THP_enabled:\s*0/m.test(sources.readFile("/proc/self/status") ?? "")) return "never";
  const text = sources.readFile("/sys/kernel/mm/transparent_hugepage/enabled") ?? "";
  const choice = /\[(\w+)\]/.exec(text)?.[1];
  return choice === "always" || choice === "madvise" || choice === "never" ? choice : "unknown";
}

/** MemTotal of /proc/meminfo, in bytes. */
export function readMemoryBytes(sources: ProbeSources): number | undefined {
  const kilobytes = /^MemTotal:\s*(\d+) kB/m.exec(sources.readFile("/proc/meminfo") ?? "")?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
