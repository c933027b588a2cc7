import { assert } from "../../src/base/assert.ts";
import { alignUp } from "../../src/base/bytes.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { DotOpName, OpName } from "../../src/ir/ops.ts";
import {
  ARGUMENT_SLOT_BYTES,
  type Kernel,
  type Parameter,
  type Target,
  type Value,
} from "../../src/ir/types.ts";

/**
 * A kernel for one op (or for structured control), with all it reads. Run it with one thread on a copy of `memory`
 * and compare `outputRange` with what the interpreter leaves there. Addresses are offsets in `memory`; where it lies
 * at another address, add that to the slots of `ptr` parameters (`relocate`).
 */
export interface OpCase {
  readonly name: string;
  readonly op: OpName | DotOpName | "control";
  readonly kernel: Kernel;
  readonly memory: Uint8Array;
  readonly argumentsAddress: number;
  /** The outputs with some bytes around them, which the kernel must leave alone. */
  readonly outputRange: readonly [start: number, end: number];
  /** `f32-nan-equal`: the range is f32, and any NaN equals any other. */
  readonly compare: "bits" | "f32-nan-equal";
}

/** What memory holds where nothing was placed; as f32 it is an ordinary number. */
const POISON = 0xa5;
const GUARD = 64;
const ARGUMENTS = 64;
const ARGUMENT_SLOTS = 16;

/** Where a region goes: `misaligned` bytes past an alignment, pointed to from `offset` bytes before. */
export interface Placement {
  readonly misaligned?: number;
  readonly offset?: number;
}

/** Builds a case: regions of memory with a pointer parameter each, scalar parameters, a kernel. */
export class Draft {
  readonly b: KernelBuilder;
  private readonly slots: { type: Parameter["type"]; value: number }[] = [];
  private readonly regions: { address: number; bytes: Uint8Array }[] = [];
  private end = ARGUMENTS + ARGUMENT_SLOTS * ARGUMENT_SLOT_BYTES + GUARD;
  private range: readonly [number, number] | undefined;

  constructor(
    target: Target,
    private readonly name: string,
    private readonly op: OpCase["op"],
    private readonly compare: OpCase["compare"] = "bits",
  ) {
    this.b = new KernelBuilder(target);
  }

  input(name: string, bytes: Uint8Array, placement: Placement = {}): Value<"ptr"> {
    const address = this.region(bytes.length, placement);
    this.regions.push({ address, bytes });
    return this.slot(name, "ptr", address - (placement.offset ?? 0));
  }

  /** The output, once per case. */
  output(size: number, placement: Placement = {}): Value<"ptr"> {
    assert(this.range === undefined, "a case has one output");
    const address = this.region(size, placement);
    this.range = [Math.floor((address - GUARD) / 4) * 4, alignUp(address + size + GUARD, 4)];
    return this.slot("out", "ptr", address - (placement.offset ?? 0));
  }

  int(name: string, value: number): Value<"i32"> {
    return this.slot(name, "i32", value);
  }

  float(name: string, value: number): Value<"f32"> {
    const [bits = 0] = new Int32Array(Float32Array.of(value).buffer);
    return this.b.op.bitstof(this.int(name, bits));
  }

  finish(): OpCase {
    const memory = new Uint8Array(this.end + GUARD).fill(POISON);
    for (const { address, bytes } of this.regions) memory.set(bytes, address);
    const view = new DataView(memory.buffer);
    this.slots.forEach(({ type, value }, i) => {
      const p = ARGUMENTS + ARGUMENT_SLOT_BYTES * i;
      if (type === "ptr") view.setBigUint64(p, BigInt(value), true);
      else view.setInt32(p, value, true);
    });
    assert(this.range !== undefined && this.slots.length <= ARGUMENT_SLOTS, `${this.name}: incomplete`);
    return {
      name: this.name,
      op: this.op,
      kernel: this.b.build(`case_${this.name.replaceAll("-", "minus").replaceAll(/\W+/g, "_")}`, [this.name]),
      memory,
      argumentsAddress: ARGUMENTS,
      outputRange: this.range,
      compare: this.compare,
    };
  }

  private slot<T extends Parameter["type"]>(name: string, type: T, value: number): Value<T> {
    this.slots.push({ type, value });
    return this.b.parameter(name, type, "");
  }

  private region(size: number, { misaligned = 0, offset = 0 }: Placement): number {
    const address = alignUp(Math.max(this.end + GUARD, offset), 4 * this.b.lanes) + misaligned;
    this.end = address + size + GUARD;
    return address;
  }
}

/** The memory of a case for a place that starts at `base`. */
export function relocate({ kernel, memory, argumentsAddress }: OpCase, base: bigint): Uint8Array {
  const image = memory.slice();
  const view = new DataView(image.buffer);
  kernel.parameters.forEach(({ type }, i) => {
    const p = argumentsAddress + ARGUMENT_SLOT_BYTES * i;
    if (type === "ptr") view.setBigUint64(p, view.getBigUint64(p, true) + base, true);
  });
  return image;
}

/** Compares two memories after a run of the case: the first difference in words, or nothing. */
export function difference(c: OpCase, expected: Uint8Array, actual: Uint8Array): string | undefined {
  const [start, end] = c.outputRange;
  const [a, b] = [expected, actual].map((m) => new DataView(m.buffer, m.byteOffset, m.byteLength));
  assert(a !== undefined && b !== undefined, "two memories");
  for (let p = start; p < end; p += 4) {
    const [x, y] = [a.getUint32(p, true), b.getUint32(p, true)];
    const bothNaN = Number.isNaN(a.getFloat32(p, true)) && Number.isNaN(b.getFloat32(p, true));
    if (x === y || (c.compare === "f32-nan-equal" && bothNaN)) continue;
    const show = (view: DataView, bits: number) =>
      `0x${bits.toString(16).padStart(8, "0")} (${bits | 0}, ${view.getFloat32(p, true)})`;
    return `${c.name}: output + ${p - start - GUARD}: expected ${show(a, x)}, got ${show(b, y)}`;
  }
  return undefined;
}
