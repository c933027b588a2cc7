import { assert } from "../base/assert.ts";
import { STEP_BARRIER, STEP_BYTES, STEP_OWN_PARTS } from "../emit/step-layout.ts";
import { ARGUMENT_SLOT_BYTES, type Kernel } from "../ir/types.ts";
import type { Region, Step } from "./backend.ts";

/** The kernels of a backend by name: their numbers in tables, and how many parameters they have. */
export type KernelTable = ReadonlyMap<string, { readonly number: number; readonly parameters: number }>;

/** Numbers kernels in their order. */
export function kernelTable(kernels: readonly Kernel[]): KernelTable {
  return new Map(
    kernels.map(({ name, parameters }, number) => [name, { number, parameters: parameters.length }]),
  );
}

/** Bytes that the step table and the argument blocks of a program take. */
export function stepTableBytes(steps: readonly Step[]): number {
  return steps.reduce((sum, step) => sum + STEP_BYTES + ARGUMENT_SLOT_BYTES * step.arguments.length, 0);
}

/**
 * Writes a program for `threads` threads where a driver can walk it: the steps (`emit/step-layout.ts`), then the argument
 * blocks: pointers and integers, 64 bits each.
 */
export function writeStepTable(
  region: Region,
  steps: readonly Step[],
  kernels: KernelTable,
  threads: number,
): void {
  const bytes = region.view(0, region.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let block = steps.length * STEP_BYTES;
  steps.forEach((step, i) => {
    const kernel = kernels.get(step.kernel);
    assert(kernel !== undefined, `no kernel ${step.kernel}`);
    const { number, parameters } = kernel;
    assert(parameters === step.arguments.length, `${step.kernel} has ${parameters} parameters`);
    view.setInt32(i * STEP_BYTES, number, true);
    const own = step.parts === undefined ? STEP_OWN_PARTS : 0;
    view.setInt32(i * STEP_BYTES + 4, (step.barrier ? STEP_BARRIER : 0) | own, true);
    view.setBigUint64(i * STEP_BYTES + 8, BigInt(region.address + block), true);
    view.setInt32(i * STEP_BYTES + 16, step.parts ?? threads, true);
    for (const value of step.arguments) {
      view.setBigInt64(block, BigInt(value), true);
      block += ARGUMENT_SLOT_BYTES;
    }
  });
}
