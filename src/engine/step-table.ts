import { assert } from "../base/assert.ts";
import { STEP_BARRIER, STEP_BYTES, STEP_OWN_PARTS } from "../emit/step-layout.ts";
import { ARGUMENT_SLOT_BYTES, type Kernel } from "../ir/types.ts";
import type { Region, Step } from "./backend.ts";

/** Bytes that the step table and the argument blocks of a program take. */
export function stepTableBytes(steps: readonly Step[]): number {
  return steps.reduce((sum, step) => sum + STEP_BYTES + ARGUMENT_SLOT_BYTES * step.arguments.length, 0);
}

/**
 * Writes a program for `threads` threads where a driver can walk it: the steps (`emit/step-layout.ts`), then the argument
 * blocks. Pointers and integers are written as 64-bit integers, floats as their bits.
 */
export function writeStepTable(
  region: Region,
  steps: readonly Step[],
  kernels: readonly Kernel[],
  threads: number,
): void {
  const bytes = region.view(0, region.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers = new Map(kernels.map((kernel, i) => [kernel.name, i]));
  let block = steps.length * STEP_BYTES;
  steps.forEach((step, i) => {
    const number = numbers.get(step.kernel);
    assert(number !== undefined, `no kernel ${step.kernel}`);
    const { parameters } = kernels[number] as Kernel;
    assert(parameters.length === step.arguments.length, `${step.kernel} has ${parameters.length} parameters`);
    view.setInt32(i * STEP_BYTES, number, true);
    const own = step.parts === undefined ? STEP_OWN_PARTS : 0;
    view.setInt32(i * STEP_BYTES + 4, (step.barrier ? STEP_BARRIER : 0) | own, true);
    view.setBigUint64(i * STEP_BYTES + 8, BigInt(region.address + block), true);
    view.setInt32(i * STEP_BYTES + 16, step.parts ?? threads, true);
    parameters.forEach((parameter, p) => {
      const value = step.arguments[p] as number;
      if (parameter.type === "f32") view.setFloat32(block, value, true);
      else view.setBigInt64(block, BigInt(value), true);
      block += ARGUMENT_SLOT_BYTES;
    });
  });
}
