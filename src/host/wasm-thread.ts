import type { WasmMemoryObject, WasmModuleObject } from "./wasm-types.ts";

/** A thread with an instance of a module of `emitWasm` over shared memory. */
export interface WasmThread {
  /**
   * Calls the module's `run`, one call at a time; resolves to the number of steps done. Rejects with what a trap
   * threw in the thread (which is then ready for the next call), or with the reason why the thread is no more.
   */
  run(steps: number, count: number, cancel: number): Promise<number>;
  /** Ends the thread, in the middle of a step if need be: a call in progress is rejected. */
  terminate(): Promise<void>;
}

/** Starts a thread, ready to run. It keeps the process alive during calls only. */
export type StartWasmThread = (module: WasmModuleObject, memory: WasmMemoryObject) => Promise<WasmThread>;
