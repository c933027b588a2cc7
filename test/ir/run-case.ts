import { KernelBuilder } from "../../src/ir/builder.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import { OPS, type OpName } from "../../src/ir/ops.ts";
import type { Attributes, Kernel, Target, Value } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import { bitsOf } from "./corner-values.ts";
import { columnsOf, isVector, mapCase } from "./map-case.ts";

/** What an op makes of rows of operands, one row per lane or scalar; f32 and i32 as numbers. */
export function apply(
  target: Target,
  op: OpName,
  rows: readonly number[][],
  attributes: Attributes = {},
): number[] {
  const { operands, result } = OPS[op];
  const encode = (row: readonly number[]) =>
    row.map((value, k) => (operands[k]?.endsWith("f32") ? bitsOf(value) : value));
  const c = mapCase(target, op, "", columnsOf(target, operands, rows.map(encode)), attributes);
  const memory = c.memory.slice();
  new Interpreter(c.kernel).run(memory.buffer, c.argumentsAddress, 1);
  const start = c.outputRange[0] + 64;
  const bytes = memory.buffer.slice(start);
  const values = result?.endsWith("f32") ? new Float32Array(bytes) : new Int32Array(bytes);
  const count =
    operands.some(isVector) && !isVector(result ?? "i32") ? rows.length / target.lanes : rows.length;
  return [...values.slice(0, count)];
}

/** A memory with one pointer argument, `p`, to byte `at`; kernels run on it. */
export class Scratch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  constructor(
    readonly target: Target,
    readonly at = 128,
    size = 1024,
  ) {
    this.bytes = new Uint8Array(size).fill(0xa5);
    this.view = new DataView(this.bytes.buffer);
    this.view.setBigUint64(0, BigInt(at), true);
  }

  kernel(write: (b: KernelBuilder, p: Value<"ptr">) => void): Kernel {
    const b = new KernelBuilder(this.target);
    write(b, b.parameter("p", "ptr", "scratch memory"));
    const kernel = b.build("scratch", []);
    verify(kernel);
    return kernel;
  }

  run(write: (b: KernelBuilder, p: Value<"ptr">) => void, threads = 1): this {
    new Interpreter(this.kernel(write)).run(this.bytes.buffer, 0, threads);
    return this;
  }

  i32(index: number): number {
    return this.view.getInt32(this.at + 4 * index, true);
  }

  i32s(start: number, end: number): number[] {
    return Array.from({ length: end - start }, (_, i) => this.i32(start + i));
  }

  f32s(start: number, end: number): number[] {
    return Array.from({ length: end - start }, (_, i) =>
      this.view.getFloat32(this.at + 4 * (start + i), true),
    );
  }

  setBytes(offset: number, values: readonly number[]): this {
    this.bytes.set(values, this.at + offset);
    return this;
  }

  setF32(offset: number, values: readonly number[]): this {
    values.forEach((value, i) => {
      this.view.setFloat32(this.at + offset + 4 * i, value, true);
    });
    return this;
  }

  setI32(offset: number, values: readonly number[]): this {
    values.forEach((value, i) => {
      this.view.setInt32(this.at + offset + 4 * i, value, true);
    });
    return this;
  }
}
