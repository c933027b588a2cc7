import { describe, expect, test } from "vitest";
import { InternalError } from "../../src/base/errors.ts";
import { STEP_BYTES } from "../../src/emit/step-layout.ts";
import { emitWasm } from "../../src/emit/wasm.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Kernel } from "../../src/ir/types.ts";
import type { RowInput } from "../../src/isa/isa.ts";
import { f32Text } from "../../src/isa/wasm-literal.ts";
import { wasmSimd128 as isa } from "../../src/isa/wasm-simd128.ts";
import { expectGolden } from "../golden.ts";
import { instantiate } from "./wasm-module.ts";

/** Appends `value` to a log: its length, then the values. */
function logger(name: string, value: number): Kernel {
  const b = new KernelBuilder(isa);
  const log = b.parameter("log", "ptr", "length, values");
  const length = b.op.iload(log, { offset: 0 });
  b.op.istore(b.op.addr(log, length, { stride: 4, offset: 4 }), b.i(value), { offset: 0 });
  b.op.istore(log, b.op.iadd(length, b.i(1)), { offset: 0 });
  return b.build(name, []);
}

/** One output per lane: 4-bit codes times 8-bit activations, one scale per output. */
function smallGemv(): Kernel {
  const b = new KernelBuilder(isa);
  const weights = b.parameter("weights", "ptr", "u4 × 2 [blocks][lanes × 4]");
  const x = b.parameter("x", "ptr", "i8 [blocks × 8]");
  const scales = b.parameter("scales", "ptr", "f16 [lanes]");
  const y = b.parameter("y", "ptr", "f32 [rows]");
  const blocks = b.parameter("blocks", "i32", "blocks of 8 inputs");
  const rows = b.parameter("rows", "i32", "outputs to write");
  const sum = b.variable("sum", b.op.viconst({ value: 0 }));
  b.loop("block", 0, blocks, 1, (block) => {
    const packed = b.op.vu8load(b.op.addr(weights, block, { stride: 16, offset: 0 }), { offset: 0, bits: 8 });
    const codes = [0, 4].map((shift) => b.op.vfield(packed, { shift, mask: 15 }));
    const at = b.op.addr(x, block, { stride: 8, offset: 0 });
    const activations = [0, 4].map((offset) => b.op.vbroadcast4(at, { offset }));
    sum.set(b.dot(sum.get(), codes, activations));
  });
  b.comment("one scale per row");
  const scaled = b.op.vfmul(b.op.vitof(sum.get()), b.op.vhload(scales, { offset: 0 }));
  b.op.vfstoren(y, rows, scaled, { offset: 0 });
  return b.build("small_gemv", [
    "y[r] = scale[r] · Σ w[r][i] · x[i], rows in lanes.",
    "",
    "u4 codes, i8 activations.",
  ]);
}

/** Addresses and argument blocks for a list of kernel indexes; returns the address of the steps. */
function writeSteps(view: DataView, indexes: readonly number[], argument: number): number {
  const steps = 1024;
  indexes.forEach((kernel, i) => {
    view.setInt32(steps + STEP_BYTES * i, kernel, true);
    view.setInt32(steps + STEP_BYTES * i + 8, argument, true);
  });
  return steps;
}

describe("emitWasm", () => {
  test("prints a small kernel and the driver as they are on file", () => {
    expectGolden("small-gemv.wat", emitWasm([smallGemv()], isa));
  });

  test("computes a small matrix-vector product", () => {
    const { view, bytes, kernels } = instantiate([smallGemv()], isa, { pages: 1 });
    const [weights, x, scales, y, blocks] = [1024, 2048, 3072, 4096, 3];
    [weights, x, scales, y, blocks, 3].forEach((value, i) => {
      view.setInt32(8 * i, value, true);
    });
    for (let i = 0; i < 16 * blocks; i++) bytes[weights + i] = (37 * i) % 256;
    for (let i = 0; i < 8 * blocks; i++) view.setInt8(x + i, ((91 * i) % 255) - 127);
    for (let lane = 0; lane < 4; lane++) view.setUint16(scales + 2 * lane, 0x3800, true); // 0.5
    view.setInt32(y + 12, 7, true);
    kernels.small_gemv?.(0, 0, 1);
    for (let lane = 0; lane < 3; lane++) {
      let sum = 0;
      for (let k = 0; k < 8 * blocks; k++) {
        const code = bytes[weights + 16 * Math.floor(k / 8) + 4 * lane + (k % 4)] as number;
        sum += ((code >> (k % 8 < 4 ? 0 : 4)) & 15) * view.getInt8(x + k);
      }
      expect(view.getFloat32(y + 4 * lane, true)).toBe(0.5 * sum);
    }
    expect(view.getInt32(y + 12, true)).toBe(7);
  });

  test("adds a negative offset to the address, the immediate being unsigned", () => {
    const b = new KernelBuilder(isa);
    const p = b.parameter("p", "ptr", "");
    b.op.istore(p, b.op.iload(p, { offset: -8 }), { offset: 8 });
    const { view, kernels } = instantiate([b.build("move", [])], isa, { pages: 1 });
    view.setInt32(0, 512, true);
    view.setInt32(504, 42, true);
    kernels.move?.(0, 0, 1);
    expect(view.getInt32(520, true)).toBe(42);
  });

  test("keeps scratch locals of nested rows apart", () => {
    const b = new KernelBuilder(isa);
    const p = b.parameter("p", "ptr", "");
    const load = (offset: number) => b.op.vfload(p, { offset });
    const sums = b.op.fadd(b.op.vfsum(load(16)), b.op.vfsum(b.op.vfmul(load(32), load(48))));
    b.op.fstore(p, b.op.fmul(sums, b.op.vfmaxlane(load(16))), { offset: 64 });
    const { view, kernels } = instantiate([b.build("nested", [])], isa, { pages: 1 });
    for (let i = 0; i < 12; i++) view.setFloat32(16 + 4 * i, i + 1, true);
    kernels.nested?.(0, 0, 1);
    const products = [5 * 9, 6 * 10, 7 * 11, 8 * 12].reduce((a, c) => a + c);
    expect(view.getFloat32(64, true)).toBe((10 + products) * 4);
  });

  test("evaluates the bounds of a loop once, though its body assigns the variable they come from", () => {
    const b = new KernelBuilder(isa);
    const p = b.parameter("p", "ptr", "");
    const end = b.variable("end", b.op.iload(p, { offset: 16 }));
    const trips = b.variable("trips", b.i(0));
    b.loop("i", 0, end.get(), 1, () => {
      end.set(b.i(0));
      trips.set(b.op.iadd(trips.get(), b.i(1)));
    });
    b.op.istore(p, trips.get(), { offset: 20 });
    const { view, kernels } = instantiate([b.build("loop", [])], isa, { pages: 1 });
    view.setInt32(16, 5, true);
    kernels.loop?.(0, 0, 1);
    expect(view.getInt32(20, true)).toBe(5);
  });

  test("gives values other names than the hoisted constants and the scratch locals", () => {
    const b = new KernelBuilder(isa);
    const p = b.parameter("half_bits", "ptr", "");
    const sign = b.named("sign", b.op.vhload(p, { offset: 16 }));
    b.op.vfstore(p, b.op.vfadd(sign, sign), { offset: 32 });
    const { view, kernels } = instantiate([b.build("names", [])], isa, { pages: 1 });
    view.setUint16(18, 0xc000, true); // −2
    kernels.names?.(0, 0, 1);
    expect(view.getFloat32(36, true)).toBe(-4);
  });

  test("refuses kernels whose names collide and shared memory without a maximum", () => {
    expect(() => emitWasm([logger("a", 1), logger("a", 2)], isa)).toThrow(InternalError);
    expect(() => emitWasm([logger("run", 1)], isa)).toThrow(InternalError);
    expect(() => emitWasm([], isa, { pages: 1, shared: true })).toThrow(InternalError);
  });
});

describe.each([{ pages: 1 }, { pages: 1, maximum: 2, shared: true }])(
  "the driver, with memory %o",
  (limits) => {
    const LOG = 4096;

    function prepared() {
      const module = instantiate([logger("one", 1), logger("two", 2)], isa, limits);
      module.view.setInt32(0, LOG, true);
      return { ...module, steps: writeSteps(module.view, [0, 1, 1, 0, 1], 0) };
    }

    function logged(view: DataView): number[] {
      return Array.from({ length: view.getInt32(LOG, true) }, (_, i) => view.getInt32(LOG + 4 + 4 * i, true));
    }

    test("runs the steps in order", () => {
      const { view, run, steps } = prepared();
      expect(run(steps, 5, 64)).toBe(5);
      expect(logged(view)).toEqual([1, 2, 2, 1, 2]);
      expect(run(steps, 0, 64)).toBe(0);
    });

    test("stops before a step when the cancel word is set", () => {
      const { view, run, steps } = prepared();
      // The second value that a kernel writes is the cancel word.
      expect(run(steps, 5, LOG + 8)).toBe(2);
      expect(logged(view)).toEqual([1, 2]);
      expect(run(steps, 5, LOG + 8)).toBe(0);
    });

    test("exports the kernels in a table and by name", () => {
      const { exports } = instantiate([logger("one", 1), logger("two", 2)], isa, limits);
      const table = exports.kernels as { length: number; get(index: number): unknown };
      expect(table.length).toBe(2);
      expect([table.get(0), table.get(1)]).toEqual([exports.one, exports.two]);
    });
  },
);

test("f32Text gives the shortest decimal that rounds to the value", () => {
  expect([0.1, 1, -2.5, 1 / 3, 2 ** -149, -0, Infinity, -Infinity, Number.NaN].map(f32Text)).toEqual([
    "0.1",
    "1",
    "-2.5",
    "0.33333334",
    "1e-45",
    "-0",
    "inf",
    "-inf",
    "nan",
  ]);
  for (const value of [3.4028234663852886e38, Math.PI, 16777217, 2 ** -112, 1.1754943508222875e-38])
    expect(Math.fround(Number(f32Text(value)))).toBe(Math.fround(value));
});

test("no row reads an operand after it has used a scratch local", () => {
  const input: RowInput = {
    attributes: { lanes: [0, 1, 2, 3], table: [0, 1] },
    number: () => 1,
    lanes: isa.lanes,
  };
  for (const [name, row] of Object.entries(isa.rows)) {
    const text = typeof row === "string" ? row : row(input);
    expect(text.split("%").slice(1).join(""), name).not.toMatch(/\$\d/);
  }
});
