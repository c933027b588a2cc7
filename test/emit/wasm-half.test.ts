import { expect, test } from "vitest";
import { f16ToF32, f32ToF16 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Value } from "../../src/ir/types.ts";
import { wasmSimd128 as isa } from "../../src/isa/wasm-simd128.ts";
import { instantiate } from "./wasm-module.ts";

type Body = (b: KernelBuilder, from: Value<"ptr">, to: Value<"ptr">, index: Value<"i32">) => void;

/** A kernel that applies `body` to index 0, L, 2L … below n. */
function mapKernel(body: Body) {
  const b = new KernelBuilder(isa);
  const [from, to] = [b.parameter("from", "ptr", ""), b.parameter("to", "ptr", "")];
  b.loop("i", 0, b.parameter("n", "i32", ""), isa.lanes, (i) => body(b, from, to, i));
  const module = instantiate([b.build("map", [])], isa, { pages: 64 });
  const [input, output] = [65536, 2 ** 21];
  const run = (count: number) => {
    [input, output, count].forEach((value, i) => {
      module.view.setInt32(8 * i, value, true);
    });
    module.kernels.map?.(0, 0, 1);
  };
  return { buffer: module.bytes.buffer, input, output, run };
}

test("every binary16 is loaded as its value", () => {
  const { buffer, input, output, run } = mapKernel((b, from, to, i) => {
    const half = b.op.vhload(b.op.addr(from, i, { stride: 2, offset: 0 }), { offset: 0 });
    b.op.vfstore(b.op.addr(to, i, { stride: 4, offset: 0 }), half, { offset: 0 });
  });
  const count = 65536;
  new Uint16Array(buffer, input, count).set(Uint16Array.from({ length: count }, (_, i) => i));
  run(count);
  const expected = Float32Array.from({ length: count }, (_, i) => f16ToF32(i));
  const actual = new Float32Array(buffer, output, count);
  expect([...actual.keys()].filter((i) => !Object.is(actual[i], expected[i]))).toEqual([]);
});

test("f32 are stored as binary16 with the rounding of the reference: ties, neighbours of ties, random bits", () => {
  const { buffer, input, output, run } = mapKernel((b, from, to, i) => {
    const value = b.op.vfload(b.op.addr(from, i, { stride: 4, offset: 0 }), { offset: 0 });
    b.op.vhstore(b.op.addr(to, i, { stride: 2, offset: 0 }), value, { offset: 0 });
  });
  const finite = 0x7c00;
  const tied = 4 * finite;
  const count = 2 * tied;
  const bits = new Uint32Array(buffer, input, count);
  const values = new Float32Array(buffer, input, count);
  const rng = new Rng(5);
  for (let i = 0; i < count; i++) {
    const half = i % finite;
    const above = half + 1 < finite ? f16ToF32(half + 1) : 2 ** 16;
    values[i] = (f16ToF32(half) + above) / 2;
    bits[i] = (bits[i] as number) + [0, 1, -1, 2 ** 31][Math.floor(i / finite) % 4]!;
    if (i >= tied) bits[i] = rng.u32();
  }
  const expected = Uint16Array.from(values, f32ToF16);
  run(count);
  const actual = new Uint16Array(buffer, output, count);
  expect([...actual.keys()].filter((i) => actual[i] !== expected[i])).toEqual([]);
});
