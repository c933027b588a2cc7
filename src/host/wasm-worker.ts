import { Worker } from "node:worker_threads";
import { InternalError, MachineError } from "../base/errors.ts";
import type { StartWasmThread, WasmThread } from "./wasm-thread.ts";

/** What the worker runs: plain JavaScript as text, so that there is no file to find from sources, a build or a bundle. */
const PROGRAM = `"use strict";
const { parentPort, workerData: { module, memory } } = require("node:worker_threads");
const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports;
parentPort.on("message", ({ steps, count, cancel }) => {
  try {
    parentPort.postMessage({ done: run(steps, count, cancel) });
  } catch (error) {
    parentPort.postMessage({ error });
  }
});
parentPort.postMessage({ done: 0 });
`;

type Reply = { readonly done: number } | { readonly error: Error };

/** A thread of `node:worker_threads`. Throws `MachineError` where the system has none left. */
export const startWasmThread: StartWasmThread = async (module, memory) => {
  try {
    const worker = new Worker(PROGRAM, {
      eval: true,
      name: "qigen kernels",
      workerData: { module, memory },
      execArgv: [], // no loaders and no preloaded modules of the main program
    });
    const thread = new NodeThread(worker);
    await thread.ready;
    return thread;
  } catch (cause) {
    throw new MachineError(`cannot start a thread for the kernels: ${(cause as Error).message}`, { cause });
  }
};

interface Call {
  resolve(done: number): void;
  reject(error: Error): void;
}

class NodeThread implements WasmThread {
  /** Settles when the worker has its instance. */
  readonly ready: Promise<number>;
  private call: Call | undefined;
  private ended: Error | undefined;

  constructor(private readonly worker: Worker) {
    this.ready = this.reply();
    worker.on("message", (reply: Reply) => {
      if ("done" in reply) this.settle()?.resolve(reply.done);
      else this.settle()?.reject(reply.error);
    });
    worker.on("error", (error) => this.end(error));
    worker.on("exit", () => this.end(new InternalError("the thread that runs the kernels has ended")));
  }

  async run(steps: number, count: number, cancel: number): Promise<number> {
    if (this.ended !== undefined) throw this.ended;
    this.worker.ref();
    const reply = this.reply();
    this.worker.postMessage({ steps, count, cancel });
    return reply;
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  private reply(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.call = { resolve, reject };
    });
  }

  /** The call in progress, if any, which is then over. */
  private settle(): Call | undefined {
    const { call } = this;
    this.call = undefined;
    this.worker.unref();
    return call;
  }

  private end(error: Error): void {
    this.ended ??= error;
    this.settle()?.reject(this.ended);
  }
}
