import { at } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Format, GroupCodes } from "../../src/quant/formats.ts";
import { exact, randomMatrix } from "./matrices.ts";
import type { Data, Shape } from "./projection-case.ts";
import { normals } from "./rows.ts";

/** Inputs of one sign by tokens: all, none, every second, every second pair, every second four. */
const SIGNS = [() => 1, () => -1, ...[1, 2, 4].map((n) => (i: number) => ((i / n) & 1 ? -1 : 1))];

/** The same data on every target. */
const seeded = ({ rows, cols, tokens }: Shape) => new Rng(rows * 7919 + cols * 31 + tokens);

/** Weights and inputs as they come, of several sizes. */
export function ordinary(shape: Shape): Data {
  const { format, rows, cols, tokens } = shape;
  const rng = seeded(shape);
  const x = normals(rng, tokens * cols).map((v, i) => v * at([1, 30, 0.01], Math.floor(i / cols) % 3));
  return {
    source: randomMatrix(format, rows, cols, rng),
    x,
    before: normals(rng, tokens * rows),
    exact: false,
  };
}

/** Small integers, which int8 activations hold exactly: with 127 in every block, its scale is 1. */
export function integers(shape: Shape): Data {
  const { format, rows, cols, tokens } = shape;
  const rng = seeded(shape);
  const int8 = shape.activations.kind === "int8";
  const block =
    shape.activations.kind === "f32" || shape.activations.block === "row" ? cols : shape.activations.block;
  const x = Float32Array.from({ length: tokens * cols }, (_, i) => {
    if (!int8) return rng.integer(17) - 8;
    return (i % cols) % block === 0 ? 127 * sign(rng) : rng.integer(255) - 127;
  });
  return {
    source: randomMatrix(format, rows, cols, rng, exact(rng)),
    x,
    before: Float32Array.from({ length: tokens * rows }, () => rng.integer(2001) - 1000),
    exact: true,
  };
}

const sign = (rng: Rng) => (rng.integer(2) === 0 ? 1 : -1);

/** The largest codes times the largest activations: where a sum of 16 bits would overflow, it does. */
export function extremes(shape: Shape): Data {
  const { format, rows, cols, tokens, activations } = shape;
  const rng = seeded(shape);
  const size = activations.kind === "int8" ? 127 : 8;
  const integer = ({ offset }: GroupCodes) => offset + 1;
  const values = { scale: () => 1, minimum: () => 3, weight: () => 7, integer };
  return {
    source: randomMatrix(format, rows, cols, rng, values, largestByte(format)),
    x: Float32Array.from({ length: tokens * cols }, (_, i) => {
      return size * at(SIGNS, Math.floor(i / cols) % SIGNS.length)(i % cols);
    }),
    before: new Float32Array(tokens * rows),
    exact: true,
  };
}

/** Bytes of nothing but the codes of the largest value. */
function largestByte(format: Format): number {
  if (format.kind === "float") return 0xff;
  if (format.table === undefined) return format.signedCodes ? 0x7f : 0xff;
  const code = format.table.indexOf(Math.max(...format.table));
  return Array.from({ length: 8 / format.bits }, (_, n) => code << (n * format.bits)).reduce((a, b) => a | b);
}
