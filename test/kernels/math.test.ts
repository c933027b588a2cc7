import { expect } from "vitest";
import { f16ToF32 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Kernel, Value } from "../../src/ir/types.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { exp, gelu, geluErf, halfToFloat, silu } from "../../src/kernels/math.ts";
import { forEachItem } from "../../src/kernels/work.ts";
import { describeKernels, floatsOf, input, type KernelCase, output, type Work } from "./bench.ts";
import { normalDistribution } from "./normal-distribution.ts";

/** out[i] = f(x[i]), a register at a time. */
function mapKernel(isa: Isa, name: string, f: (b: KernelBuilder, x: Value<"vf32">) => Value<"vf32">): Kernel {
  const b = new KernelBuilder(isa);
  const x = b.parameter("x", "ptr", "f32");
  const out = b.parameter("out", "ptr", "f32");
  forEachItem(b, b.parameter("vectors", "i32", "registers"), (item) => {
    const at = (p: Value<"ptr">) => b.op.addr(p, item, { stride: 4 * b.lanes, offset: 0 });
    b.op.vfstore(at(out), f(b, b.op.vfload(at(x), { offset: 0 })), { offset: 0 });
  });
  return b.build(name, [`out = ${name}(x)`]);
}

function mapCase(
  isa: Isa,
  name: string,
  f: (b: KernelBuilder, x: Value<"vf32">) => Value<"vf32">,
  values: Float32Array,
  problem: (x: number, y: number) => string | undefined,
): KernelCase {
  const out = output("out", values.byteLength);
  return {
    name,
    make: () => ({
      steps: [
        {
          kernel: mapKernel(isa, `map_${name}`, f),
          arguments: [input("x", values), out, values.length / isa.lanes],
        },
      ],
      check: (after) => {
        const actual = floatsOf(after(out));
        values.forEach((x, i) => {
          const found = problem(x, actual[i]!);
          if (found !== undefined) expect.fail(`${name}(${x}) is ${actual[i]}: ${found}`);
        });
      },
    }),
  };
}

/** e^x is 0 below, and stops growing above. */
const [LOW, HIGH] = [-87.3, 88.3];

/** Where something ends or rounds the other way, then a fine grid and random values in between. */
function samples(): Float32Array {
  const halves = Array.from({ length: 256 }, (_, i) => (i - 127.5) * Math.LN2);
  const corners = [0, -0, 1, -1, 1e-30, -1e-30, 1e-45, LOW, HIGH, -1e30, 1e30, 3.4e38, -3.4e38];
  const neighbours = [...halves, ...corners, -87.29, -87.31, 88.29, 88.31, Number.NEGATIVE_INFINITY];
  const grid = Array.from({ length: 6000 }, (_, i) => -90 + 0.03 * i);
  const rng = new Rng(1);
  const random = Array.from({ length: 4000 }, () => 10 * rng.normal());
  const all = [...neighbours, ...grid, ...random];
  return Float32Array.from({ length: Math.floor(all.length / 16) * 16 }, (_, i) => all[i]!);
}

const relative = (y: number, expected: number) => Math.abs(y - expected) / Math.abs(expected);

function expProblem(x: number, y: number): string | undefined {
  if (x < Math.fround(LOW)) return y === 0 ? undefined : "must be 0";
  const error = relative(y, Math.exp(Math.min(x, Math.fround(HIGH))));
  return error <= 2 ** -22 ? undefined : `relative error ${error}`;
}

function siluProblem(x: number, y: number): string | undefined {
  const expected = x / (1 + Math.exp(-x));
  // Below −88 the quotient has the clamped e^88.3 under it.
  if (x < -87) return y <= 0 && y >= Math.min(-1e-35, x / 1e38) ? undefined : "must be about 0";
  if (Math.abs(y - expected) <= 2 ** -149) return undefined;
  const error = relative(y, expected);
  return error <= 2 ** -21 ? undefined : `relative error ${error}`;
}

function geluProblem(x: number, y: number): string | undefined {
  const expected = (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const error = Math.abs(y - expected);
  return error <= 2 ** -20 * Math.abs(expected) + 1e-7 ? undefined : `off by ${error}`;
}

function geluErfProblem(x: number, y: number): string | undefined {
  const expected = x * normalDistribution(x);
  const error = Math.abs(y - expected);
  const tolerance = 2 ** -21 * (1 + (x * x) / 16) * Math.abs(expected) + 2 ** -120;
  return error <= tolerance ? undefined : `off by ${error}`;
}

/** Every finite binary16. */
function halfWork(isa: Isa): Work {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
  const b = new KernelBuilder(isa);
  const x = b.parameter("x", "ptr", "binary16");
  const out = b.parameter("out", "ptr", "f32");
  forEachItem(b, b.parameter("count", "i32", "values"), (i) => {
    const half = b.op.u16load(b.op.addr(x, i, { stride: 2, offset: 0 }), { offset: 0 });
    b.op.fstore(b.op.addr(out, i, { stride: 4, offset: 0 }), halfToFloat(b, half), { offset: 0 });
  });
  const result = output("out", 4 * bits.length);
  const kernel = b.build("half_to_float", ["out = the value of x"]);
  return {
    steps: [{ kernel, arguments: [input("x", bits), result, bits.length] }],
    check: (after) => expect(floatsOf(after(result))).toEqual(Float32Array.from(bits, f16ToF32)),
  };
}

describeKernels("functions", (isa) => [
  mapCase(isa, "exp", exp, samples(), expProblem),
  mapCase(isa, "silu", silu, samples(), siluProblem),
  mapCase(
    isa,
    "gelu",
    gelu,
    samples().map((x) => Math.max(-1e30, Math.min(x, 1e30))),
    geluProblem,
  ),
  mapCase(
    isa,
    "gelu_erf",
    geluErf,
    samples().map((x) => Math.max(-1e30, Math.min(x, 1e30))),
    geluErfProblem,
  ),
  { name: "every finite binary16 as f32", make: () => halfWork(isa) },
]);
