import { alignUp } from "../base/bytes.ts";
import { AbortedError, MachineError, UsageError } from "../base/errors.ts";
import { STEP_BYTES } from "../emit/step-layout.ts";
import { Interpreter } from "../ir/interp.ts";
import { verify } from "../ir/verify.ts";
import type { Isa } from "../isa/isa.ts";
import { generated } from "../kernels/recipe.ts";
import {
  type Backend,
  type BackendRequest,
  type Program,
  REGION_ALIGNMENT,
  type Region,
  type Step,
} from "./backend.ts";
import { type KernelTable, kernelTable, stepTableBytes, writeStepTable } from "./step-table.ts";

/** Milliseconds of work between two looks at the event loop. */
const SLICE_MS = 10;

interface InterpreterProgram extends Program {
  readonly table: Region;
}

/** Runs kernels in the IR's own interpreter: the reference for tests, and for models of a few hundred thousand weights. */
export class InterpreterBackend implements Backend {
  readonly kind = "interpreter";
  readonly isa: Isa;
  readonly threads: number;
  readonly description: string;
  private readonly memory: ArrayBuffer;
  private readonly interpreters: ReadonlyMap<string, Interpreter>;
  private readonly kernels: KernelTable;
  private next = REGION_ALIGNMENT;
  private running = false;

  constructor({ isa, threads, kernels: wanted, capacity }: BackendRequest) {
    const kernels = wanted.map(generated);
    this.isa = isa;
    this.threads = threads;
    this.kernels = kernelTable(kernels);
    this.description = `interpreter of ${isa.name}`;
    kernels.forEach(verify);
    this.interpreters = new Map(kernels.map((kernel) => [kernel.name, new Interpreter(kernel)]));
    try {
      this.memory = new ArrayBuffer(capacity + REGION_ALIGNMENT);
    } catch (cause) {
      throw new MachineError(`the interpreter cannot have ${capacity} bytes; use the native backend`, {
        cause,
      });
    }
  }

  allocate(bytes: number): Region {
    const address = this.next;
    this.next = alignUp(address + bytes, REGION_ALIGNMENT);
    if (this.next > this.memory.byteLength) {
      throw new MachineError(`the interpreter's ${this.memory.byteLength} bytes are used up`);
    }
    return {
      address,
      bytes,
      view: (offset, length) => new Uint8Array(this.memory, address + offset, length),
    };
  }

  release(): void {
    // Bump allocation: memory goes with the backend.
  }

  prepare(steps: readonly Step[]): InterpreterProgram {
    const table = this.allocate(stepTableBytes(steps));
    writeStepTable(table, steps, this.kernels, this.threads);
    return { steps, table };
  }

  async run(program: Program, signal?: AbortSignal): Promise<void> {
    if (this.running) throw new UsageError("the backend is busy");
    this.running = true;
    try {
      const { table, steps } = program as InterpreterProgram;
      const view = new DataView(this.memory);
      let last = performance.now();
      for (const [i, step] of steps.entries()) {
        if (signal?.aborted) throw new AbortedError();
        const block = Number(view.getBigUint64(table.address + i * STEP_BYTES + 8, true));
        this.interpreters.get(step.kernel)?.run(this.memory, block, this.threads);
        if (performance.now() - last > SLICE_MS) {
          await new Promise((resolve) => setImmediate(resolve));
          last = performance.now();
        }
      }
    } finally {
      this.running = false;
    }
  }

  async dispose(): Promise<void> {}
}
