import { AbortedError, QigenError } from "../base/errors.ts";
import { type CacheDir, openCacheDir } from "../host/cache-dir.ts";
import { cgroupLimits } from "../host/cgroup.ts";
import { type Compilers, findCompilers } from "../host/compilers.ts";
import { readAffinity } from "../host/cpu-linux.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { saveMeasurements } from "../host/measurements.ts";
import { PackedCache } from "../host/packed-cache.ts";
import { nodeSources, type ProbeSources } from "../host/sources.ts";
import { ISAS } from "../isa/index.ts";
import { touchPages } from "../kernels/measure.ts";
import type { Machine } from "../plan/machine.ts";
import type { BackendKind } from "./backend.ts";
import { type BackendChoice, chooseBackend, missingFeatures, nativeObstacle } from "./choose.ts";
import { type MeasureProgress, measureMachine } from "./measure.ts";
import { opener } from "./open-backend.ts";

export { formatDiagnosis } from "./diagnosis-text.ts";

/** What works here, what does not, and why: plain data. */
export interface Diagnosis {
  readonly node: string;
  /** As Node names it: "linux", "darwin", "win32". */
  readonly platform: string;
  /** With measurements, if there are any. */
  readonly machine: Machine;
  readonly threads: { readonly count: number; readonly reason: string };
  readonly compilers: Compilers;
  readonly isas: readonly IsaVerdict[];
  /** What a model runs on by default. */
  readonly choice: ChoiceVerdict;
  /** Whether a kernel could really be built, loaded and run; absent where that was not tried. */
  readonly trial?: Verdict;
  readonly cache: CacheDir | { readonly problem: string };
  /** Packed weights in the cache; absent where there is no cache. */
  readonly packed?: { readonly folder: string; readonly files: number; readonly bytes: number };
  /** Why measuring, or keeping what was measured, failed. */
  readonly measuringProblem?: string;
}

/** `text` says what ran, or what went wrong. */
export interface Verdict {
  readonly works: boolean;
  readonly text: string;
}

export interface IsaVerdict {
  readonly name: string;
  readonly backend: BackendKind;
  readonly usable: boolean;
  /** CPU features that are missing. */
  readonly missing: readonly string[];
  /** Why it is not usable; empty where it is. */
  readonly reason: string;
}

export type ChoiceVerdict =
  | { readonly backend: BackendKind; readonly isa: string; readonly reason: string }
  | { readonly problem: string };

export interface DiagnoseOptions {
  /** Whether to time the machine and keep the results; takes some seconds. */
  readonly measure?: boolean | undefined;
  readonly onProgress?: ((progress: MeasureProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Where the probe reads, if not from this machine; nothing is tried then. */
  readonly sources?: ProbeSources;
}

/** Finds out what works here. Fails only when aborted: what goes wrong is what it reports. */
export async function diagnose(options: DiagnoseOptions = {}): Promise<Diagnosis> {
  const { env = process.env, signal } = options;
  const sources = options.sources ?? nodeSources();
  const [described, compilers] = await Promise.all([describeMachine(env, sources), findCompilers(env)]);
  const choice = attempt(() => chooseBackend(described, compilers, {}, sources.platform));
  const trial =
    "problem" in choice || options.sources !== undefined ? undefined : await tryBackend(choice, signal);
  const cache = attempt(() => openCacheDir(env));
  const measured = options.measure ? await measure(described, options) : { machine: described };
  return {
    node: process.version,
    platform: sources.platform,
    ...measured,
    threads: { count: described.threads, reason: explainThreads(described, sources) },
    compilers,
    isas: isaVerdicts(described, compilers, sources.platform),
    choice:
      "problem" in choice ? choice : { backend: choice.kind, isa: choice.isa.name, reason: choice.reason },
    ...(trial === undefined ? {} : { trial }),
    cache,
    ...("problem" in cache ? {} : { packed: await describePacked(new PackedCache(cache.path)) }),
  };
}

async function describePacked(cache: PackedCache): Promise<NonNullable<Diagnosis["packed"]>> {
  return { folder: cache.folder, ...(await cache.usage()) };
}

/** The value, or the words of the error a caller could act on. */
function attempt<T extends object>(action: () => T): T | { readonly problem: string } {
  try {
    return action();
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  if (error instanceof AbortedError || !(error instanceof QigenError)) throw error;
  return error.message;
}

async function measure(
  machine: Machine,
  options: DiagnoseOptions,
): Promise<Pick<Diagnosis, "machine" | "measuringProblem">> {
  let result: Machine = machine;
  try {
    const measured = await measureMachine(machine, options);
    result = { ...machine, measured };
    await saveMeasurements(machine, measured, options.env);
    return { machine: result };
  } catch (error) {
    return { machine: result, measuringProblem: messageOf(error) };
  }
}

const TRIAL_PAGES = 2;

/** Builds, loads and runs a small kernel, and looks at what it wrote. */
async function tryBackend(choice: BackendChoice, signal: AbortSignal | undefined): Promise<Verdict> {
  const { kind, isa } = choice;
  const kernel = touchPages(isa);
  const request = { isa, threads: 1, kernels: [kernel], capacity: 2 ** 20, signal };
  try {
    const backend = await opener(choice)(request);
    try {
      const data = backend.allocate(4096 * TRIAL_PAGES, "plain");
      const step = { kernel: kernel.name, arguments: [data.address, TRIAL_PAGES], barrier: true };
      await backend.run(backend.prepare([step]), signal);
      const works = data.view(4096, 1)[0] === 1;
      return { works, text: works ? backend.description : `${kind}: a kernel gave a wrong result` };
    } finally {
      await backend.dispose();
    }
  } catch (error) {
    const instead = kind === "native" ? "; models run on wasm instead" : "";
    return { works: false, text: `${messageOf(error)}${instead}` };
  }
}

function isaVerdicts(machine: Machine, compilers: Compilers, platform: string): IsaVerdict[] {
  const obstacle = nativeObstacle(machine, compilers, platform);
  return ISAS.map((isa): IsaVerdict => {
    const backend = isa.syntax === "c" ? "native" : "wasm";
    const missing = missingFeatures(machine, isa);
    const lacking = missing.length > 0 ? `this CPU lacks ${missing.join(", ")}` : undefined;
    const reason = lacking ?? (backend === "native" ? obstacle : undefined) ?? "";
    return { name: isa.name, backend, usable: reason === "", missing, reason };
  });
}

/** What limits the number of threads: the cores, the share of CPU time, or the CPUs that the process may run on. */
export function explainThreads(machine: Machine, sources: ProbeSources): string {
  const { threads, physicalCores, logicalCores } = machine;
  if (threads >= physicalCores) {
    const siblings = logicalCores > physicalCores ? "; logical ones share a core's arithmetic" : "";
    return `one for each physical core${siblings}`;
  }
  const quota = cgroupLimits(sources, () => undefined).cpus;
  if (Math.max(1, Math.floor(quota)) === threads) {
    return `the control group allows the time of ${Number(quota.toFixed(2))} CPUs, of ${physicalCores} cores`;
  }
  const allowed = readAffinity(sources)?.length;
  if (allowed === undefined) return `what the system lets this process use of ${physicalCores} cores`;
  return `the CPU affinity of this process allows ${allowed} of ${logicalCores} logical CPUs`;
}
