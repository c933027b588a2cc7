import { expect } from "vitest";
import { alignUp } from "../../src/base/bytes.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { type EmbedChange, embed } from "../../src/kernels/embed.ts";
import { tilesArgument } from "../../src/kernels/records.ts";
import { FORMATS, type Format, formatNamed } from "../../src/quant/formats.ts";
import { packing, sharedVectors } from "../../src/quant/packing.ts";
import { dequantizeRows, packReference } from "../../src/quant/reference.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { randomMatrix, wholeBlocks } from "./matrices.ts";
import { normals, paddedRows } from "./rows.ts";

/** Columns and row vectors of a tile, taken in turn by the formats. */
const SHAPES = [
  [1, 1],
  [7, 2],
  [33, 4],
  [172, 2],
  [320, 1],
] as const;

/** What is done with the rows, taken in turn. */
const CHANGES: readonly EmbedChange[] = [
  {},
  { scale: 11.25 },
  {},
  { accumulate: true },
  {},
  { scale: 3, accumulate: true },
];

const ROWS = 70;
const TOKENS = [3, 69, 0, 31, 69];

function embedCase(isa: Isa, format: Format, n: number): KernelCase {
  const [wanted, some] = SHAPES[n % SHAPES.length]!;
  const cols = wholeBlocks(format, wanted);
  const tile = alignUp(some, sharedVectors(format, isa));
  const threads = n % 2 === 0 ? 1 : 3;
  const change = CHANGES[n % CHANGES.length]!;
  return {
    name: `${format.name}, ${cols} values, tiles of ${tile}, ${threads} threads ${JSON.stringify(change)}`,
    threads,
    make: () => embedWork(isa, format, cols, tile, change),
  };
}

/** The row of every token, dequantized exactly as the oracle does. */
function embedWork(isa: Isa, format: Format, cols: number, tile: number, change: EmbedChange): Work {
  const pack = packing(format, ROWS, cols, tile, isa);
  const source = randomMatrix(format, ROWS, cols, new Rng(cols));
  const before = paddedRows(normals(new Rng(1), TOKENS.length * cols), cols);
  const x = output("x", before);
  const table = input("table", packReference(pack, isa, source));
  const ids = input("tokens", i32(...TOKENS));
  const parts = [table, ids, x, input("counts", i32(TOKENS.length)), ...tilesArgument(pack)];
  return {
    steps: [{ kernel: embed(pack, isa, change), arguments: parts }],
    check: (after) => {
      const weights = dequantizeRows(format, source, ROWS, cols);
      const rows = TOKENS.flatMap((token) => [...weights.subarray(token * cols, (token + 1) * cols)]);
      const { scale = 1, accumulate = false } = change;
      const expected = paddedRows(rows, cols).map((value, i) => {
        const scaled = scale === 1 ? value : Math.fround(scale * value);
        return accumulate ? Math.fround(before[i]! + scaled) : scaled;
      });
      const actual = floatsOf(after(x));
      expect(expected.findIndex((value, i) => !Object.is(actual[i], value))).toBe(-1);
    },
  };
}

describeKernels("embed", (isa) => [...FORMATS.values()].map((format, n) => embedCase(isa, format, n)));

describeKernels("embed from panels", (isa) => [
  {
    name: "Q1_0, 1200 values",
    threads: 1,
    make: () => embedWork(isa, formatNamed("Q1_0"), 1200, 4, {}),
  },
]);
