import { assert } from "../base/assert.ts";
import { AbortedError, InternalError, MachineError, QigenError, UsageError } from "../base/errors.ts";
import { emitWasm } from "../emit/wasm.ts";
import { assembleWasm } from "../emit/wasm-assembler.ts";
import type { WasmThread } from "../host/wasm-thread.ts";
import { WASM_MAX_PAGES, type WasmModuleObject, webAssembly } from "../host/wasm-types.ts";
import { startWasmThread } from "../host/wasm-worker.ts";
import type { Kernel } from "../ir/types.ts";
import { verify } from "../ir/verify.ts";
import type { Isa } from "../isa/isa.ts";
import { generated } from "../kernels/recipe.ts";
import type { Backend, BackendRequest, Program, Region, Step } from "./backend.ts";
import { type KernelTable, kernelTable, stepTableBytes, writeStepTable } from "./step-table.ts";
import { WasmHeap } from "./wasm-heap.ts";

/** The module is the same for every size of memory. */
const MEMORY = { pages: 1, maximum: WASM_MAX_PAGES, shared: true } as const;

/**
 * Assembles the kernels and starts a thread that runs them. It needs nothing but the JavaScript engine. Throws
 * `MachineError` where the memory cannot be had or the engine lacks the instructions.
 */
export async function createWasmBackend(request: BackendRequest): Promise<Backend> {
  const { isa, capacity, signal } = request;
  if (signal?.aborted) throw new AbortedError();
  const heap = new WasmHeap(capacity);
  const start = performance.now();
  const kernels = request.kernels.map(generated);
  const module = await compile(kernels, isa);
  if (signal?.aborted) throw new AbortedError();
  const thread = await startWasmThread(module, heap.memory);
  if (signal?.aborted) {
    await thread.terminate();
    throw new AbortedError();
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  return new WasmBackend(heap, thread, isa, kernelTable(kernels), `${isa.name}, compiled in ${seconds} s`);
}

async function compile(kernels: readonly Kernel[], isa: Isa): Promise<WasmModuleObject> {
  assert(isa.syntax === "wasm", `${isa.name} is not for WebAssembly`);
  kernels.forEach(verify);
  const bytes = assembleWasm(emitWasm(kernels, isa, MEMORY));
  try {
    return await webAssembly.compile(bytes);
  } catch (cause) {
    const problem = (cause as Error).message;
    throw new MachineError(`this JavaScript engine cannot compile kernels for ${isa.name}: ${problem}`, {
      cause,
    });
  }
}

interface WasmProgram extends Program {
  readonly table: Region;
}

/** Kernels in WebAssembly, run by a thread of their own over memory that it shares with this one. */
class WasmBackend implements Backend {
  readonly kind = "wasm";
  readonly threads = 1;
  private readonly cancel: Region;
  private running = false;
  private disposed = false;

  constructor(
    private readonly heap: WasmHeap,
    private readonly thread: WasmThread,
    readonly isa: Isa,
    private readonly kernels: KernelTable,
    readonly description: string,
  ) {
    this.cancel = heap.allocate(Int32Array.BYTES_PER_ELEMENT);
  }

  allocate(bytes: number): Region {
    return this.heap.allocate(bytes);
  }

  release(): void {
    // Memory goes with the backend.
  }

  prepare(steps: readonly Step[]): WasmProgram {
    const table = this.heap.allocate(stepTableBytes(steps));
    writeStepTable(table, steps, this.kernels, this.threads);
    return { steps, table };
  }

  async run(program: Program, signal?: AbortSignal): Promise<void> {
    if (this.disposed) throw new UsageError("the backend is disposed");
    if (this.running) throw new UsageError("the backend is busy");
    if (signal?.aborted) throw new AbortedError();
    const bytes = this.cancel.view(0, this.cancel.bytes);
    const word = new Int32Array(bytes.buffer, bytes.byteOffset, 1);
    Atomics.store(word, 0, 0);
    const stop = () => Atomics.store(word, 0, 1);
    signal?.addEventListener("abort", stop, { once: true });
    this.running = true;
    try {
      const { steps, table } = program as WasmProgram;
      const done = await this.thread.run(table.address, steps.length, this.cancel.address);
      if (done < steps.length) throw new AbortedError();
    } catch (error) {
      throw this.failure(error);
    } finally {
      this.running = false;
      signal?.removeEventListener("abort", stop);
    }
  }

  private failure(error: unknown): Error {
    if (this.disposed) return new AbortedError("the backend was disposed");
    if (error instanceof QigenError) return error;
    const { message, stack } = error as Error;
    const kernel = trappedKernel(stack ?? "", this.kernels);
    return new InternalError(kernel === undefined ? message : `kernel ${kernel}: ${message}`);
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.thread.terminate();
    this.heap.dispose();
  }
}

/** The kernel on top of the stack. All engines call functions by their index, and kernels come first. */
function trappedKernel(stack: string, kernels: KernelTable): string | undefined {
  const index = /wasm-function\[(\d+)\]/.exec(stack)?.[1];
  return index === undefined ? undefined : [...kernels.keys()][Number(index)];
}
