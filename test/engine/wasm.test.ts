import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { AbortedError, InternalError, MachineError, UsageError } from "../../src/base/errors.ts";
import type { Backend, BackendRequest, Step } from "../../src/engine/backend.ts";
import { createWasmBackend } from "../../src/engine/wasm.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Kernel } from "../../src/ir/types.ts";
import { wasmSimd128 as isa } from "../../src/isa/wasm-simd128.ts";

const GIB = 2 ** 30;
/** More steps or rounds than any test waits for. */
const ENDLESS_STEPS = 100_000;
const ENDLESS_ROUNDS = 2 ** 31 - 1;

/** `log[0]` is the length of the list of numbers after it. */
function append(): Kernel {
  const b = new KernelBuilder(isa);
  const log = b.parameter("log", "ptr", "i32 length, values");
  const value = b.parameter("value", "i32", "");
  const length = b.op.iload(log, { offset: 0 });
  b.op.istore(b.op.addr(log, length, { stride: 4, offset: 4 }), value, { offset: 0 });
  b.op.istore(log, b.op.iadd(length, b.i(1)), { offset: 0 });
  return b.build("append", []);
}

function double(): Kernel {
  const b = new KernelBuilder(isa);
  const x = b.parameter("x", "ptr", "f32 [4]");
  const factor = b.parameter("factor", "i32", "");
  b.op.vfstore(x, b.op.vfmul(b.op.vfload(x, { offset: 0 }), b.op.vfsplat(b.op.itof(factor))), { offset: 0 });
  return b.build("scale", []);
}

/** About a nanosecond of work a round. */
function spin(): Kernel {
  const b = new KernelBuilder(isa);
  const cell = b.parameter("cell", "ptr", "i32");
  const rounds = b.parameter("rounds", "i32", "");
  b.loop("round", 0, rounds, 1, (round) => {
    b.op.istore(cell, b.op.iadd(b.op.iload(cell, { offset: 0 }), round), { offset: 0 });
  });
  return b.build("spin", []);
}

const backends: Backend[] = [];

async function create(request: Partial<BackendRequest> = {}): Promise<Backend> {
  const kernels = [append(), double(), spin()];
  const backend = await createWasmBackend({ isa, threads: 1, kernels, capacity: 8 * 2 ** 20, ...request });
  backends.push(backend);
  return backend;
}

afterEach(async () => {
  for (const backend of backends.splice(0)) await backend.dispose();
});

function step(kernel: string, ...values: number[]): Step {
  return { kernel, arguments: values, barrier: true };
}

/** A program that outlasts the test, of steps of about a millisecond. */
function endless(backend: Backend) {
  const { address } = backend.allocate(4, "working");
  return backend.prepare(Array<Step>(ENDLESS_STEPS).fill(step("spin", address, 1e6)));
}

function integers(backend: Backend, values: readonly number[]) {
  const region = backend.allocate(64, "working");
  const program = backend.prepare(values.map((value) => step("append", region.address, value)));
  const list = () => {
    const bytes = region.view(0, 64);
    const [length, ...rest] = new Int32Array(bytes.buffer, bytes.byteOffset, 16);
    return rest.slice(0, length);
  };
  return { program, list };
}

/** Milliseconds until the promise settles. */
async function settled(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise.catch(() => undefined);
  return performance.now() - start;
}

describe("the WebAssembly backend", () => {
  test("says what it is", async () => {
    const backend = await create({ threads: 8 });
    expect(backend).toMatchObject({ kind: "wasm", isa, threads: 1 });
    expect(backend.description).toMatch(/^wasm-simd128, compiled in \d+\.\d s$/);
  });

  test("hands out zeroed, aligned memory that kernels and views share", async () => {
    const backend = await create();
    const [a, b] = [backend.allocate(20, "weights"), backend.allocate(16, "working")];
    expect([a.address % 64, b.address % 64]).toEqual([0, 0]);
    expect(b.address).toBeGreaterThanOrEqual(a.address + 20);
    expect(a.view(0, 20)).toEqual(new Uint8Array(20));
    const bytes = b.view(0, 16);
    const x = new Float32Array(bytes.buffer, bytes.byteOffset, 4);
    x.set([1, 2, 3, 4]);
    await backend.run(backend.prepare([step("scale", b.address, 3)]));
    expect([...x]).toEqual([3, 6, 9, 12]);
    expect(() => b.view(-1, 1)).toThrow(RangeError);
    expect(() => b.view(0, -1)).toThrow(RangeError);
    expect(() => b.view(1, 16)).toThrow(RangeError);
  });

  test("runs steps in order, programs again and again, and empty ones", async () => {
    const backend = await create();
    const { program, list } = integers(backend, [3, 1, -2]);
    await backend.run(program);
    await backend.run(program);
    await backend.run(backend.prepare([]));
    expect(list()).toEqual([3, 1, -2, 3, 1, -2]);
  });

  test("reaches addresses above 2 GiB", async () => {
    const backend = await create({ capacity: 3 * GIB });
    backend.allocate(2.5 * GIB, "weights");
    const { program, list } = integers(backend, [7]);
    await backend.run(program);
    expect(list()).toEqual([7]);
  });

  test("one run at a time", async () => {
    const backend = await create();
    const { program, list } = integers(backend, [1, 2]);
    const first = backend.run(program);
    await expect(backend.run(program)).rejects.toThrow(UsageError);
    await first;
    expect(list()).toEqual([1, 2]);
  });
});

describe("memory that cannot be had", () => {
  test("more than 4 GiB, before anything is compiled", async () => {
    const kernels = [append(), append()]; // of one name, which the emitter would refuse
    const failure = createWasmBackend({ isa, threads: 1, kernels, capacity: 4 * GIB });
    await expect(failure).rejects.toThrow(MachineError);
    await expect(failure).rejects.toThrow(
      /needs 4294967296 bytes.* at most 4 GiB.*native backend.*C compiler.*smaller model/,
    );
    await expect(create({ capacity: Number.NaN })).rejects.toThrow(MachineError);
  });

  test("more than was asked for at the start", async () => {
    const backend = await create({ capacity: 1000 });
    backend.allocate(1000, "weights");
    expect(() => backend.allocate(2 ** 17, "working")).toThrow(MachineError);
    expect(() => backend.allocate(Number.NaN, "working")).toThrow(InternalError);
  });
});

describe("stopping", () => {
  test("an abort stops at the next step, and the backend runs on", async () => {
    const backend = await create();
    const { program, list } = integers(backend, [5]);
    const controller = new AbortController();
    const run = backend.run(endless(backend), controller.signal);
    await sleep(30);
    controller.abort();
    expect(await settled(run)).toBeLessThan(500);
    await expect(run).rejects.toThrow(AbortedError);
    await expect(backend.run(program, controller.signal)).rejects.toThrow(AbortedError);
    expect(list()).toEqual([]);
    await backend.run(program);
    expect(list()).toEqual([5]);
  });

  test("a signal that fired before the start", async () => {
    await expect(create({ signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
  });

  test("dispose ends a run, in the middle of a step if need be", async () => {
    const backend = await create();
    const region = backend.allocate(64, "working");
    const run = backend.run(backend.prepare([step("spin", region.address, ENDLESS_ROUNDS)]));
    await sleep(30);
    expect(await settled(backend.dispose())).toBeLessThan(500);
    await expect(run).rejects.toThrow(AbortedError);
    expect(() => region.view(0, 1)).toThrow(UsageError);
  });

  test("nothing runs after dispose, which may be called again", async () => {
    const backend = await create();
    const { program } = integers(backend, [1]);
    await backend.dispose();
    await backend.dispose();
    await expect(backend.run(program)).rejects.toThrow(UsageError);
    expect(() => backend.allocate(1, "working")).toThrow(UsageError);
  });
});

describe("the event loop", () => {
  test("turns during a run", async () => {
    const backend = await create();
    const controller = new AbortController();
    const run = backend.run(endless(backend), controller.signal);
    const lateness: number[] = [];
    for (let i = 0; i < 200; i++) {
      const start = performance.now();
      await sleep(1);
      lateness.push(performance.now() - start - 1);
    }
    controller.abort();
    await expect(run).rejects.toThrow(AbortedError);
    // Other processes may hold the core now and then.
    expect(lateness.filter((ms) => ms > 25).length).toBeLessThan(10);
  });

  test("is kept alive by a run, not by an idle backend", async () => {
    const ports = () => process.getActiveResourcesInfo().filter((name) => name === "MessagePort").length;
    const before = ports();
    const backend = await create();
    expect(ports()).toBe(before);
    const run = backend.run(integers(backend, [1]).program);
    expect(ports()).toBe(before + 1);
    await run;
    expect(ports()).toBe(before);
  });
});

describe("failures", () => {
  test("a trap names the kernel and leaves process and backend alive", async () => {
    const backend = await create();
    const { program, list } = integers(backend, [9]);
    const outside = backend.prepare([step("spin", 0xffff_fff0, 1)]);
    await expect(backend.run(outside)).rejects.toThrow(InternalError);
    await expect(backend.run(outside)).rejects.toThrow(/kernel spin: memory access out of bounds/);
    await backend.run(program);
    expect(list()).toEqual([9]);
  });

  test("code that the engine refuses is the machine's lack", async () => {
    const rows = { ...isa.rows, vfmul: "$0 $1 i32.add" };
    const failure = create({ isa: { ...isa, rows } });
    await expect(failure).rejects.toThrow(MachineError);
    await expect(failure).rejects.toThrow(/cannot compile kernels for wasm-simd128/);
  });
});
