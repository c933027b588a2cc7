import { AbortedError, UsageError } from "../base/errors.ts";
import { openCacheDir } from "../host/cache-dir.ts";
import { compileShared } from "../host/compile.ts";
import type { Compiler } from "../host/compilers.ts";
import { NativeLibrary } from "../host/native-library.ts";
import type { Isa } from "../isa/isa.ts";
import type { Backend, BackendRequest, MemoryUse, Move, Program, Region, Step } from "./backend.ts";
import { kernelSources } from "./kernel-sources.ts";
import { type KernelTable, stepTableBytes, writeStepTable } from "./step-table.ts";

/**
 * `-ffp-contract=off` and no `-ffast-math`: the compiler must not change the arithmetic that the interpreter defines.
 * `-fwrapv`: i32 arithmetic wraps.
 */
const FLAGS = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fwrapv", "-pthread"];

/**
 * What keeps a compiler from undoing the order of a kernel's statements, which is chosen for the registers: gcc moves
 * additions to the end of their chains (by replacing temporaries and by reassociation) and spills the products; its
 * scheduler reads weights out of their order, in which the hardware's prefetchers expect them.
 */
const ORDER_FLAGS: Readonly<Record<Compiler["kind"], readonly string[]>> = {
  gcc: ["-fno-tree-ter", "-fno-tree-reassoc", "-fno-schedule-insns2"],
  clang: [],
  zig: [],
};

/**
 * Passes that find nothing to do in kernels, whose code is long, straight and in vectors already: a tenth of gcc's time. The
 * speed of kernels is the same without them.
 */
const IDLE_PASSES: Readonly<Record<Compiler["kind"], readonly string[]>> = {
  gcc: ["tree-vectorize", "tree-pre", "gcse", "tree-vrp", "rerun-cse-after-loop"],
  clang: [],
  zig: [],
};

/** What kernels are compiled with. */
export function compilerFlags({ kind }: Compiler, isa: Isa): string[] {
  const idle = IDLE_PASSES[kind].map((pass) => `-fno-${pass}`);
  return [...FLAGS, ...ORDER_FLAGS[kind], ...idle, ...isa.flags];
}

/**
 * Generates, verifies and compiles the kernels (or finds them in the cache) and loads them; `compiler` builds for the
 * machine it runs on.
 */
export async function createNativeBackend(request: BackendRequest, compiler: Compiler): Promise<Backend> {
  const { isa, kernels, threads, signal } = request;
  const sources = kernelSources(kernels, isa);
  const flags = compilerFlags(compiler, isa);
  const compiled = await compileShared(compiler, sources, flags, openCacheDir().path, { signal });
  const library = new NativeLibrary(compiled.path);
  const how = compiled.cached ? "from cache" : `compiled in ${(compiled.milliseconds / 1000).toFixed(1)} s`;
  const description = `native ${isa.name}, ${compiler.version}, ${how}`;
  const table = new Map(
    kernels.map(({ name }, number) => [name, { number, parameters: library.parameters(number) }]),
  );
  return new NativeBackend(library, isa, threads, table, description);
}

interface NativeProgram extends Program {
  readonly table: NativeRegion;
}

class NativeRegion implements Region {
  constructor(
    private readonly library: NativeLibrary,
    readonly address: number,
    readonly bytes: number,
    readonly huge: boolean,
  ) {}

  view(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > this.bytes) {
      throw new RangeError(`${offset} + ${length} is outside a region of ${this.bytes} bytes`);
    }
    return this.library.view(this.address + offset, length);
  }
}

class NativeMove implements Move {
  constructor(
    private readonly library: NativeLibrary,
    private move: number | undefined,
  ) {}

  get over(): boolean {
    return this.move === undefined || this.library.moveIsOver(this.move);
  }

  stop(): void {
    if (this.move !== undefined) this.library.stopMove(this.move);
    this.move = undefined;
  }
}

class NativeBackend implements Backend {
  readonly kind = "native";
  private readonly team: number;
  private readonly regions = new Set<NativeRegion>();
  private readonly cancel: NativeRegion;
  private running: Promise<number> | undefined;

  constructor(
    private readonly library: NativeLibrary,
    readonly isa: Isa,
    readonly threads: number,
    private readonly kernels: KernelTable,
    readonly description: string,
  ) {
    this.team = library.createTeam(threads);
    this.cancel = this.allocate(64, "working");
  }

  allocate(bytes: number, use: MemoryUse): NativeRegion {
    const huge = use === "weights" || (use === "working" && bytes >= 2 ** 21);
    const region = new NativeRegion(this.library, this.library.allocate(bytes, huge), bytes, huge);
    this.regions.add(region);
    return region;
  }

  release(region: Region): void {
    const own = region as NativeRegion;
    if (this.regions.delete(own)) this.library.release(own.address, own.bytes, own.huge);
  }

  mapFile(path: string, bytes: number): Region {
    const region = new NativeRegion(this.library, this.library.mapFile(path, bytes), bytes, true);
    this.regions.add(region);
    return region;
  }

  moveToHugePages({ address, bytes }: Region): Move {
    return new NativeMove(this.library, this.library.startMove(address, bytes));
  }

  prepare(steps: readonly Step[]): NativeProgram {
    const table = this.allocate(stepTableBytes(steps), "working");
    writeStepTable(table, steps, this.kernels, this.threads);
    return { steps, table };
  }

  async run(program: Program, signal?: AbortSignal): Promise<void> {
    if (this.running !== undefined) throw new UsageError("the backend is busy");
    if (signal?.aborted) throw new AbortedError();
    const word = this.cancel.view(0, 4);
    word[0] = 0;
    const stop = () => {
      word[0] = 1;
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const { steps, table } = program as NativeProgram;
      this.running = this.library.run(this.team, table.address, steps.length, this.cancel.address, 0);
      const complete = await this.running;
      if (complete === 0) throw new AbortedError();
    } finally {
      this.running = undefined;
      signal?.removeEventListener("abort", stop);
    }
  }

  async dispose(): Promise<void> {
    this.cancel.view(0, 4)[0] = 1;
    await this.running?.catch(() => undefined);
    this.library.destroyTeam(this.team);
    for (const region of [...this.regions]) this.release(region);
  }
}
