import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { embed } from "../../src/kernels/embed.ts";
import { FORMATS, type Format } from "../../src/quant/formats.ts";
import { packing } from "../../src/quant/packing.ts";
import { dequantizeRows, packReference } from "../../src/quant/reference.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { randomMatrix, wholeBlocks } from "./matrices.ts";
import { paddedRows } from "./rows.ts";

/** Columns and row vectors of a tile, taken in turn by the formats. */
const SHAPES = [
  [1, 1],
  [7, 2],
  [33, 4],
  [172, 2],
  [320, 1],
] as const;

const ROWS = 70;
const TOKENS = [3, 69, 0, 31, 69];

function embedCase(isa: Isa, format: Format, n: number): KernelCase {
  const [wanted, tile] = SHAPES[n % SHAPES.length]!;
  const cols = wholeBlocks(format, wanted);
  const threads = n % 2 === 0 ? 1 : 3;
  return {
    name: `${format.name}, ${cols} values, tiles of ${tile}, ${threads} threads`,
    threads,
    make: () => embedWork(isa, format, cols, tile),
  };
}

/** The row of every token, dequantized exactly as the oracle does. */
function embedWork(isa: Isa, format: Format, cols: number, tile: number): Work {
  const pack = packing(format, ROWS, cols, tile, isa);
  const source = randomMatrix(format, ROWS, cols, new Rng(cols));
  const x = output("x", new Float32Array(TOKENS.length * paddedCols(cols)));
  const table = input("table", packReference(pack, isa, source));
  const parts = [table, input("tokens", i32(...TOKENS)), x, input("counts", i32(TOKENS.length))];
  return {
    steps: [{ kernel: embed(pack, isa), arguments: parts }],
    check: (after) => {
      const weights = dequantizeRows(format, source, ROWS, cols);
      const rows = TOKENS.flatMap((token) => [...weights.subarray(token * cols, (token + 1) * cols)]);
      const expected = paddedRows(rows, cols);
      const actual = floatsOf(after(x));
      expect(expected.findIndex((value, i) => !Object.is(actual[i], value))).toBe(-1);
    },
  };
}

describeKernels("embed", (isa) => [...FORMATS.values()].map((format, n) => embedCase(isa, format, n)));
