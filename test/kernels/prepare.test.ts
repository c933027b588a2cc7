import { at } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { type Activations, activationLayout } from "../../src/kernels/activations.ts";
import { orderedOffsets, prepare } from "../../src/kernels/prepare.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { describeKernels, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { checkPrepared } from "./prepared.ts";
import { paddedRows } from "./rows.ts";

/** [format of the weights, whose groups the sums follow; inputs; activation block; threads; inputs in an order] */
type Choice = readonly [string, number, number | "row" | "f32", number, "ordered"?];

const CHOICES: readonly Choice[] = [
  ["Q4_0", 1, 32, 1],
  ["Q4_0", 320, 32, 3],
  ["Q4_0", 320, 64, 1],
  ["Q4_0", 172, 128, 1],
  ["Q4_0", 172, "row", 3],
  ["4bit-g64", 33, "row", 1],
  ["4bit-g128", 320, 32, 1],
  ["4bit-g128", 127, 128, 3],
  ["4bit-row", 7, "row", 1],
  ["4bit-row", 33, "row", 1],
  ["4bit-row", 172, "row", 1],
  ["4bit-row", 172, 64, 3],
  ["4bit-row", 161, 128, 1],
  ["Q4_0", 172, "f32", 3],
  ["4bit-g128", 320, "f32", 1],
  ["4bit-row", 33, "f32", 1],
  ["F16", 7, "f32", 1],
  ["Q1_0", 320, 32, 3],
  ["Q1_0", 172, 128, 1],
  ["Q1_0", 33, "row", 1, "ordered"],
  ["4bit-g128", 320, 32, 1, "ordered"],
  ["4bit-g32", 172, 128, 3, "ordered"],
  ["4bit-row", 33, "row", 1, "ordered"],
  ["4bit-g64", 172, "f32", 3, "ordered"],
  ["4bit-g128", 7, "f32", 1, "ordered"],
];

/** Inputs of a token, by token: what is hard to quantize, then ordinary values. */
const TOKENS: readonly ((i: number, rng: Rng) => number)[] = [
  () => 0,
  () => -0,
  (i) => (i % 3 === 0 ? -3 : 0),
  // Steps of a half, where the largest is 127 and the scale 1: every rounding is a tie.
  (i) => (i % 32 === 0 ? 127 : (i % 32) - 15.5),
  // The inverse of the scale is not finite, or the largest is subnormal itself.
  (i) => 1e-40 * (i % 7),
  (i) => 2 ** -149 * (i % 2),
  (i) => 3e-38 * Math.sin(i),
  (i) => 3.4e38 * Math.cos(i),
  // One large value leaves the others at 0.
  (i, rng) => (i % 32 === 5 ? 1e6 : rng.normal()),
  (_, rng) => rng.normal(),
  (_, rng) => 100 * rng.normal(),
];

function prepareCase(isa: Isa, choice: Choice): KernelCase {
  const [format, cols, block, threads, ordered = "in a row"] = choice;
  const kind = block === "f32" ? "f32" : `int8 by ${block}`;
  return {
    name: `${cols} inputs of ${format}, ${kind}, ${threads} threads, ${ordered}`,
    threads,
    make: () => prepareWork(isa, choice),
  };
}

function prepareWork(isa: Isa, [format, cols, block, , ordered]: Choice): Work {
  const activations: Activations = block === "f32" ? { kind: "f32" } : { kind: "int8", block };
  const layout = activationLayout(activations, formatNamed(format), cols, isa);
  const rng = new Rng(cols);
  const values = TOKENS.flatMap((value) => Array.from({ length: cols }, (_, i) => value(i, rng)));
  // Sums of f32 that overflow are nobody's concern.
  const size = block === "f32" ? 1e-9 : 1;
  const x = Float32Array.from(values, (value) => size * value);
  const prepared = output("prepared", TOKENS.length * layout.rowBytes);
  const order = shuffled(cols, rng);
  const list = input("order", new Uint8Array(orderedOffsets(order).buffer));
  const parts = [input("x", paddedRows(x, cols)), prepared, input("counts", i32(TOKENS.length))];
  const taken = x.map((_, i) => at(x, i - (i % cols) + at(order, i % cols)));
  return ordered === undefined
    ? {
        steps: [{ kernel: prepare(layout, isa), arguments: parts }],
        check: (after) => checkPrepared(layout, x, after(prepared)),
      }
    : {
        steps: [{ kernel: prepare(layout, isa, true), arguments: [...parts, list] }],
        check: (after) => checkPrepared(layout, taken, after(prepared)),
      };
}

/** The numbers below `count` in a random order. */
function shuffled(count: number, rng: Rng): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = rng.integer(i + 1);
    [order[i], order[other]] = [at(order, other), at(order, i)];
  }
  return order;
}

describeKernels("prepare", (isa) => CHOICES.map((choice) => prepareCase(isa, choice)));
