import { MachineError } from "../base/errors.ts";
import { findCompilers } from "../host/compilers.ts";
import type { Kernel } from "../ir/types.ts";
import { type Isa, isOneInstruction } from "../isa/isa.ts";
import {
  addPeak,
  f32Peak,
  int8Peak,
  MEASURE_PAGE,
  type PeakKernel,
  READ_PREFETCHES,
  RESULT_STRIDE,
  readBandwidth,
  touchPages,
} from "../kernels/measure.ts";
import type { CacheLevel, Machine, Measurements } from "../plan/machine.ts";
import type { Backend, BackendKind, BackendRequest, Region } from "./backend.ts";
import { chooseBackend, usableIsas } from "./choose.ts";
import { opener } from "./open-backend.ts";
import { type Effort, FULL_EFFORT, median, timeRepeats } from "./stopwatch.ts";

export interface MeasureProgress {
  /** Measurements done, this one included, and to do in all. */
  readonly done: number;
  readonly total: number;
  /** What was measured, with its result: "reads, 2 threads, huge pages: 23.1 GB/s". */
  readonly text: string;
}

export interface MeasureOptions {
  readonly onProgress?: ((progress: MeasureProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Names the C compiler, as for `findCompilers`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** What to measure through; without it what a model would run on. */
  readonly subject?: MeasureSubject;
  readonly effort?: Effort;
}

/** A way to run kernels on this machine. */
export interface MeasureSubject {
  readonly kind: BackendKind;
  /** Best first; memory is measured with the first. */
  readonly isas: readonly Isa[];
  /** The most threads it runs. */
  readonly threads: number;
  open(request: BackendRequest): Promise<Backend>;
}

/**
 * Times the memory and the arithmetic of this machine for one thread up to all that the process may use. Takes some 6
 * seconds with two threads and 15 with sixteen, and needs the machine for itself.
 *
 * @throws MachineError when there is nothing to measure with, or not enough memory
 * @throws AbortedError when the signal fires
 */
export async function measureMachine(machine: Machine, options: MeasureOptions = {}): Promise<Measurements> {
  const subject = options.subject ?? (await measuringSubject(machine, options.env));
  const [best] = subject.isas;
  if (best === undefined) throw new MachineError(`no instruction set to measure ${machine.name} with`);
  const run = new Run(machine, subject, options);
  for (const isa of subject.isas) await run.measure(isa, isa === best);
  return { ...run.found, at: new Date().toISOString() };
}

/** What a model would run on, with every ISA that it could use there. */
export async function measuringSubject(
  machine: Machine,
  env?: MeasureOptions["env"],
): Promise<MeasureSubject> {
  const choice = chooseBackend(machine, await findCompilers(env));
  const { kind } = choice;
  const threads = kind === "native" ? machine.threads : 1;
  return { kind, isas: usableIsas(machine, kind), threads, open: opener(choice) };
}

/**
 * Bytes that are read: 1 GiB, or four times the last-level caches, so that they hold little of it; at most a quarter
 * of the memory, and of the address space of WebAssembly.
 */
export function readBufferBytes(machine: Machine, kind: BackendKind, wanted = 2 ** 30): number {
  const last = machine.caches.at(-1);
  const cacheBytes = last === undefined ? 0 : allBytes(last, machine.physicalCores);
  const limit = Math.min(machine.memoryBytes / 4, kind === "native" ? Number.POSITIVE_INFINITY : 2 ** 30);
  const pages = Math.floor(Math.min(Math.max(wanted, 4 * cacheBytes), limit) / MEASURE_PAGE);
  return MEASURE_PAGE * Math.max(1, pages);
}

function allBytes({ bytes, sharedBy }: CacheLevel, cores: number): number {
  return bytes * Math.ceil(cores / sharedBy);
}

/** 1, 2, 3, 4, then powers of two, and `threads` itself: speeds between them lie on a line. */
export function threadCounts(threads: number): number[] {
  const counts = [1, 2, 3, 4];
  for (let n = 8; n < threads; n *= 2) counts.push(n);
  return [...new Set([...counts.filter((n) => n < threads), threads])];
}

/**
 * Kinds of pages that memory can be asked for and that differ: where the system makes all pages huge ("always"), small
 * ones are not to be had.
 */
export function pageKinds(machine: Machine, kind: BackendKind): readonly boolean[] {
  if (kind !== "native") return [false];
  return { always: [true], madvise: [false, true], never: [false], unknown: [false] }[machine.hugePages];
}

/** One measuring of a machine. */
class Run {
  readonly found = {
    readGBs: [] as Measurements["readGBs"][number][],
    int8Gops: [] as Measurements["int8Gops"][number][],
    f32Gflops: [] as Measurements["f32Gflops"][number][],
    addGops: [] as NonNullable<Measurements["addGops"]>[number][],
  };
  private readonly counts: readonly number[];
  private readonly pages: readonly boolean[];
  private readonly total: number;
  private done = 0;

  constructor(
    private readonly machine: Machine,
    private readonly subject: MeasureSubject,
    private readonly options: MeasureOptions,
  ) {
    this.counts = threadCounts(subject.threads);
    this.pages = pageKinds(machine, subject.kind);
    const peaks = subject.isas.reduce((n, { costs }) => n + (isOneInstruction(costs) ? 3 : 2), 0);
    this.total = this.counts.length * (this.pages.length + peaks);
  }

  async measure(isa: Isa, withMemory: boolean): Promise<void> {
    const { subject, options } = this;
    const effort = options.effort ?? FULL_EFFORT;
    const reads = READ_PREFETCHES.map((prefetch) => readBandwidth(isa, prefetch));
    const [int8, f32] = [int8Peak(isa), f32Peak(isa)];
    const add = isOneInstruction(isa.costs) ? addPeak(isa) : undefined;
    const memory = withMemory ? [...reads, touchPages(isa)] : [];
    const bytes = withMemory ? readBufferBytes(this.machine, subject.kind, effort.bufferBytes) : 0;
    const backend = await subject.open({
      isa,
      threads: subject.threads,
      kernels: [...memory, int8.kernel, f32.kernel, ...(add === undefined ? [] : [add.kernel])],
      capacity: bytes * this.pages.length + SPARE_BYTES,
      signal: options.signal,
    });
    try {
      const bench = new Bench(backend, effort, options.signal);
      if (withMemory) await this.reads(bench, reads, bytes);
      await this.gops(bench, "int8", int8, this.found.int8Gops);
      await this.f32(bench, f32);
      if (add !== undefined) await this.gops(bench, "additions", add, this.found.addGops);
    } finally {
      await backend.dispose();
    }
  }

  private async reads(bench: Bench, kernels: readonly Kernel[], bytes: number): Promise<void> {
    for (const hugePages of this.pages) {
      const data = await bench.touched(bytes, hugePages);
      let candidates = kernels;
      for (const threads of this.counts) {
        const trials: { readonly kernel: Kernel; readonly rates: readonly number[] }[] = [];
        for (const kernel of candidates) {
          const rates = await bench.rates(threads, kernel, [data.address, bytes / MEASURE_PAGE]);
          trials.push({ kernel, rates: rates.map((perSecond) => (perSecond * bytes) / 1e9) });
        }
        const { kernel, rates } = trials.reduce((a, b) => (median(b.rates) > median(a.rates) ? b : a));
        candidates = [kernel];
        const [gbs, maxGbs] = [rounded(median(rates)), rounded(Math.max(...rates))];
        this.found.readGBs.push({ threads, hugePages, gbs, maxGbs });
        this.report(`reads, ${plural(threads)}, ${hugePages ? "huge" : "small"} pages: ${gbs} GB/s`);
      }
      bench.backend.release(data);
    }
  }

  private async gops(
    bench: Bench,
    what: string,
    peak: PeakKernel,
    found: Measurements["int8Gops"][number][],
  ) {
    const isa = bench.backend.isa.name;
    for (const threads of this.counts) {
      const gops = await bench.peak(threads, peak);
      found.push({ isa, threads, gops });
      this.report(`${what}, ${isa}, ${plural(threads)}: ${gops} Gop/s`);
    }
  }

  private async f32(bench: Bench, peak: PeakKernel): Promise<void> {
    const isa = bench.backend.isa.name;
    for (const threads of this.counts) {
      const gflops = await bench.peak(threads, peak);
      this.found.f32Gflops.push({ isa, threads, gflops });
      this.report(`f32, ${isa}, ${plural(threads)}: ${gflops} Gflop/s`);
    }
  }

  private report(text: string): void {
    this.done++;
    this.options.onProgress?.({ done: this.done, total: this.total, text });
  }
}

/** For results, inputs and step tables, of which there are a few for each measurement. */
export const SPARE_BYTES = 2 ** 20;

/** A backend with what the kernels need beside their data. */
export class Bench {
  private readonly results: Region;

  constructor(
    readonly backend: Backend,
    private readonly effort: Effort,
    private readonly signal?: AbortSignal | undefined,
  ) {
    this.results = backend.allocate(RESULT_STRIDE * backend.threads, "plain");
  }

  /** Memory that is there and not all zeros. */
  async touched(bytes: number, hugePages: boolean): Promise<Region> {
    const data = this.backend.allocate(bytes, hugePages ? "weights" : "plain");
    const step = { kernel: "measure_touch", arguments: [data.address, bytes / MEASURE_PAGE], barrier: true };
    await this.backend.run(this.backend.prepare([step]), this.signal);
    return data;
  }

  /** Repeats a second of a kernel by the first `threads` threads, pass by pass. */
  rates(threads: number, kernel: Kernel, first: readonly number[], effort = this.effort): Promise<number[]> {
    return timeRepeats((repeats) => {
      const values = [...first, repeats, threads, this.results.address];
      const program = this.backend.prepare([{ kernel: kernel.name, arguments: values, barrier: true }]);
      return () => this.backend.run(program, this.signal);
    }, effort);
  }

  /**
   * Fastest pass, in 10⁹ operations a second: arithmetic has nothing to wait for but other processes, so that three
   * passes of less than half the length are enough.
   */
  async peak(threads: number, { kernel, operations, inputs }: PeakKernel): Promise<number> {
    const region = this.backend.allocate(inputs.length, "plain");
    region.view(0, inputs.length).set(inputs);
    const effort = { ...this.effort, passes: 3, passMs: 0.4 * this.effort.passMs };
    const rates = await this.rates(threads, kernel, [region.address], effort);
    this.backend.release(region);
    return rounded((Math.max(...rates) * operations * threads) / 1e9);
  }
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function plural(threads: number): string {
  return `${threads} thread${threads === 1 ? "" : "s"}`;
}
