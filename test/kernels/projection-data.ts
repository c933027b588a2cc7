import { at } from "../../src/base/assert.ts";
import type { Rng } from "../../src/base/rng.ts";
import { activationLayout } from "../../src/kernels/activations.ts";
import { exact, randomMatrix } from "./matrices.ts";
import { type Data, type Shape, seeded } from "./projection-case.ts";
import { normals } from "./rows.ts";

/** Inputs of one sign by tokens: all, none, every second, every second pair, every second four. */
const SIGNS = [() => 1, () => -1, ...[1, 2, 4].map((n) => (i: number) => ((i / n) & 1 ? -1 : 1))];

/** Weights and inputs as they come, of several sizes. */
export function ordinaryData(shape: Shape): Data {
  const { format, rows, cols, tokens } = shape;
  const rng = seeded(shape);
  const x = normals(rng, tokens * cols).map((v, i) => v * at([1, 30, 0.01], Math.floor(i / cols) % 3));
  return {
    name: "ordinary values",
    source: randomMatrix(format, rows, cols, rng),
    x,
    before: normals(rng, tokens * rows),
    exact: false,
  };
}

/** Small integers, which int8 activations hold exactly: with 127 in every block, its scale is 1. */
export function exactData(shape: Shape): Data {
  const { format, rows, cols, tokens } = shape;
  const rng = seeded(shape);
  const { block } = activationLayout(shape.activations, format, cols);
  const int8 = shape.activations.kind === "int8";
  const x = Float32Array.from({ length: tokens * cols }, (_, i) => {
    if (!int8) return rng.integer(17) - 8;
    return (i % cols) % block === 0 ? 127 * sign(rng) : rng.integer(255) - 127;
  });
  return {
    name: "integers",
    source: randomMatrix(format, rows, cols, rng, exact(rng)),
    x,
    before: Float32Array.from({ length: tokens * rows }, () => rng.integer(2001) - 1000),
    exact: true,
  };
}

const sign = (rng: Rng) => (rng.integer(2) === 0 ? 1 : -1);

/** The largest codes times the largest activations: where a sum of 16 bits would overflow, it does. */
export function extremeData(shape: Shape): Data {
  const { format, rows, cols, tokens, activations } = shape;
  const rng = seeded(shape);
  const size = activations.kind === "int8" ? 127 : 8;
  const values = { scale: () => 1, minimum: () => 3, weight: () => 7 };
  const largest = format.kind === "quantized" && format.signedCodes ? 0x7f : 0xff;
  return {
    name: "extremes",
    source: randomMatrix(format, rows, cols, rng, values, largest),
    x: Float32Array.from({ length: tokens * cols }, (_, i) => {
      return size * at(SIGNS, Math.floor(i / cols) % SIGNS.length)(i % cols);
    }),
    before: new Float32Array(tokens * rows),
    exact: true,
  };
}
