import { emitWasm, type WasmMemory } from "../../src/emit/wasm.ts";
import { assembleWasm } from "../../src/emit/wasm-assembler.ts";
import { webAssembly } from "../../src/host/wasm-types.ts";
import type { Kernel } from "../../src/ir/types.ts";
import type { Isa } from "../../src/isa/isa.ts";

export { webAssembly as engine };

type KernelFunction = (argumentsAddress: number, thread: number, threads: number) => void;

export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly kernels: Readonly<Record<string, KernelFunction>>;
  readonly run: (steps: number, count: number, cancel: number) => number;
  readonly exports: Readonly<Record<string, unknown>>;
}

/** Prints, assembles and instantiates kernels, with a new memory. */
export function instantiate(kernels: readonly Kernel[], isa: Isa, limits: WasmMemory): WasmModule {
  const { pages, ...rest } = limits;
  const memory = new webAssembly.Memory({ initial: pages, ...rest });
  const module = new webAssembly.Module(assembleWasm(emitWasm(kernels, isa, limits)));
  const { exports } = new webAssembly.Instance(module, { env: { memory } });
  return {
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
    kernels: exports as Record<string, KernelFunction>,
    run: exports.run as WasmModule["run"],
    exports,
  };
}
