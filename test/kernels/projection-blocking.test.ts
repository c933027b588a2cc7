import { describe, expect, test } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import type { Isa } from "../../src/isa/isa.ts";
import type { Activations } from "../../src/kernels/activations.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { sharedVectors } from "../../src/quant/packing.ts";
import { panelInputs } from "../../src/quant/sign-words.ts";
import { describeKernels, interpreted } from "./bench.ts";
import { projectionCases, projectionWork, type Shape } from "./projection-case.ts";
import { extremes, integers, ordinary } from "./projection-data.ts";

const f32: Activations = { kind: "f32" };
const int8 = (block: number | "row"): Activations => ({ kind: "int8", block });

interface Choice {
  readonly format: string;
  readonly rows: number;
  readonly cols: number;
  readonly tokens: number;
  readonly activations: Activations;
  /** Row vectors of a tile. */
  readonly tile: number;
  readonly nu: number;
  /** Tiles of a mini-GEMV. */
  readonly tiles?: number;
  readonly mb?: number | "panel";
  readonly mu?: number;
  readonly expand?: boolean;
  readonly accumulate?: boolean;
  readonly bias?: boolean;
  readonly threads?: number;
}

function shapeOf(isa: Isa, c: Choice): Shape {
  const tu = c.tile * isa.lanes;
  return {
    format: formatNamed(c.format),
    rows: c.rows,
    cols: c.cols,
    tokens: c.tokens,
    activations: c.activations,
    blocking: {
      mb: c.mb === "panel" ? panelInputs(isa.signs) : (c.mb ?? c.cols),
      tb: tu * (c.tiles ?? 1),
      mu: c.mu ?? 32,
      tu,
      nu: c.nu,
      expand: c.expand,
    },
    accumulate: c.accumulate ?? false,
    ...(c.bias === undefined ? {} : { bias: c.bias }),
    threads: c.threads ?? 1,
  };
}

const CHOICES: readonly Choice[] = [
  // Mini-GEMVs that end inside the row: with whole groups, with the ragged group alone, and in its middle.
  {
    format: "Q4_0",
    rows: 100,
    cols: 320,
    tokens: 5,
    activations: int8(64),
    tile: 2,
    nu: 2,
    tiles: 3,
    mb: 64,
  },
  { format: "Q4_0", rows: 9, cols: 135, tokens: 3, activations: int8(32), tile: 1, nu: 1, tiles: 2, mb: 64 },
  { format: "Q4_1", rows: 33, cols: 172, tokens: 3, activations: int8(32), tile: 2, nu: 4, tiles: 2, mb: 96 },
  { format: "4bit-g128", rows: 31, cols: 520, tokens: 2, activations: int8(128), tile: 1, nu: 2, mb: 256 },
  { format: "3bit-g32", rows: 40, cols: 200, tokens: 2, activations: f32, tile: 1, nu: 2, mb: 96 },
  // Those that add to the output, in one block and in several.
  {
    format: "3bit-g64",
    rows: 7,
    cols: 161,
    tokens: 5,
    activations: int8(64),
    tile: 1,
    nu: 4,
    accumulate: true,
  },
  {
    format: "2bit-g32",
    rows: 70,
    cols: 290,
    tokens: 3,
    activations: int8(32),
    tile: 2,
    nu: 2,
    mb: 128,
    accumulate: true,
    threads: 3,
  },
  // Activation blocks below, at and above the group, and the whole row.
  { format: "8bit-g64", rows: 17, cols: 300, tokens: 2, activations: int8(32), tile: 1, nu: 2 },
  { format: "8bit-g64-sym", rows: 17, cols: 300, tokens: 1, activations: int8(64), tile: 4, nu: 1 },
  { format: "Q8_0", rows: 20, cols: 300, tokens: 3, activations: int8(128), tile: 2, nu: 1, tiles: 2 },
  { format: "4bit-g128-sym", rows: 20, cols: 300, tokens: 1, activations: int8("row"), tile: 1, nu: 1 },
  { format: "2bit-row", rows: 20, cols: 320, tokens: 1, activations: int8(64), tile: 2, nu: 1 },
  // Expanded weights: of rows with a ragged group, of blocks of inputs with the ragged group in and after the last one.
  { format: "Q4_0", rows: 40, cols: 135, tokens: 9, activations: int8(32), tile: 2, nu: 4, expand: true },
  { format: "Q4_1", rows: 33, cols: 172, tokens: 4, activations: int8(32), tile: 1, nu: 2, expand: true },
  {
    format: "3bit-g32",
    rows: 90,
    cols: 200,
    tokens: 6,
    activations: int8(32),
    tile: 2,
    nu: 2,
    tiles: 2,
    mb: 96,
    expand: true,
  },
  {
    format: "2bit-g64",
    rows: 70,
    cols: 320,
    tokens: 14,
    activations: int8(64),
    tile: 1,
    nu: 6,
    tiles: 3,
    mb: 128,
    expand: true,
  },
  {
    format: "4bit-g128",
    rows: 31,
    cols: 520,
    tokens: 5,
    activations: int8(128),
    tile: 1,
    nu: 2,
    mb: 256,
    expand: true,
  },
  {
    format: "4bit-g128-sym",
    rows: 50,
    cols: 260,
    tokens: 8,
    activations: int8(32),
    tile: 2,
    nu: 4,
    expand: true,
    accumulate: true,
    threads: 3,
  },
  {
    format: "3bit-row",
    rows: 20,
    cols: 330,
    tokens: 7,
    activations: int8("row"),
    tile: 1,
    nu: 3,
    expand: true,
  },
  { format: "2bit-row", rows: 20, cols: 330, tokens: 7, activations: int8(64), tile: 1, nu: 3, expand: true },
  // Too few tokens to expand anything.
  { format: "Q4_0", rows: 40, cols: 64, tokens: 7, activations: int8(32), tile: 2, nu: 4, expand: true },
  // Segments that are unrolled whole, in parts, in parts with a rest, and not at all.
  { format: "4bit-row", rows: 9, cols: 172, tokens: 1, activations: int8("row"), tile: 1, nu: 1, mu: 192 },
  {
    format: "4bit-row-sym",
    rows: 9,
    cols: 320,
    tokens: 2,
    activations: int8("row"),
    tile: 1,
    nu: 1,
    mu: 128,
  },
  { format: "3bit-row", rows: 9, cols: 320, tokens: 3, activations: int8("row"), tile: 2, nu: 3, mu: 64 },
  { format: "4bit-g128", rows: 8, cols: 256, tokens: 1, activations: int8(128), tile: 1, nu: 1, mu: 128 },
  // More tokens in registers than there are, and the largest register blocks.
  { format: "Q4_0", rows: 33, cols: 64, tokens: 1, activations: int8(32), tile: 1, nu: 4 },
  { format: "Q4_0", rows: 200, cols: 96, tokens: 8, activations: int8(32), tile: 4, nu: 4, tiles: 2 },
  { format: "Q4_0", rows: 40, cols: 64, tokens: 9, activations: int8(32), tile: 1, nu: 8 },
  // Every size of the steps that do the rest of the tokens.
  { format: "Q4_0", rows: 20, cols: 64, tokens: 15, activations: int8(32), tile: 1, nu: 8, accumulate: true },
  { format: "4bit-g32", rows: 20, cols: 172, tokens: 6, activations: int8(32), tile: 2, nu: 4, mb: 64 },
  { format: "F16", rows: 20, cols: 33, tokens: 7, activations: f32, tile: 1, nu: 4 },
  // A bias, in one block of inputs and in several, of outputs that are replaced and added to.
  { format: "Q4_0", rows: 20, cols: 64, tokens: 3, activations: int8(32), tile: 1, nu: 2, bias: true },
  { format: "F32", rows: 70, cols: 33, tokens: 5, activations: f32, tile: 2, nu: 4, bias: true, threads: 3 },
  {
    format: "F16",
    rows: 9,
    cols: 40,
    tokens: 2,
    activations: f32,
    tile: 1,
    nu: 2,
    bias: true,
    accumulate: true,
  },
  {
    format: "Q4_1",
    rows: 33,
    cols: 172,
    tokens: 3,
    activations: int8(32),
    tile: 2,
    nu: 2,
    mb: 96,
    bias: true,
  },
  {
    format: "4bit-g32",
    rows: 70,
    cols: 290,
    tokens: 5,
    activations: int8(32),
    tile: 2,
    nu: 2,
    mb: 128,
    accumulate: true,
    bias: true,
    expand: true,
    threads: 3,
  },
  // Sums that are looked up, of tiles of several registers: ragged groups, activation scales below, at and above a group.
  { format: "Q1_0", rows: 100, cols: 300, tokens: 1, activations: int8(32), tile: 4, nu: 1, threads: 3 },
  { format: "Q1_0", rows: 70, cols: 488, tokens: 7, activations: int8(32), tile: 8, nu: 2, mb: 256 },
  { format: "Q1_0", rows: 40, cols: 172, tokens: 5, activations: int8(64), tile: 4, nu: 4, accumulate: true },
  { format: "Q1_0", rows: 33, cols: 390, tokens: 2, activations: int8("row"), tile: 8, nu: 1, bias: true },
  { format: "Q1_0", rows: 9, cols: 31, tokens: 1, activations: int8(128), tile: 4, nu: 1 },
  { format: "Q1_0", rows: 40, cols: 300, tokens: 3, activations: f32, tile: 8, nu: 2, mb: 128 },
  // In panels, of which the last has fewer groups, or a ragged one, or that alone.
  {
    format: "Q1_0",
    rows: 150,
    cols: 2304,
    tokens: 3,
    activations: int8(32),
    tile: 4,
    nu: 2,
    tiles: 2,
    mb: "panel",
    threads: 3,
  },
  { format: "Q1_0", rows: 70, cols: 2200, tokens: 1, activations: int8(32), tile: 4, nu: 1, mb: "panel" },
  {
    format: "Q1_0",
    rows: 130,
    cols: 1100,
    tokens: 2,
    activations: f32,
    tile: 4,
    nu: 1,
    tiles: 4,
    mb: "panel",
    accumulate: true,
  },
  // More threads than tiles.
  { format: "Q4_0", rows: 8, cols: 64, tokens: 1, activations: int8(32), tile: 1, nu: 1, threads: 5 },
  { format: "F16", rows: 40, cols: 33, tokens: 5, activations: f32, tile: 1, nu: 4, tiles: 2, threads: 3 },
  { format: "BF16", rows: 9, cols: 7, tokens: 2, activations: f32, tile: 2, nu: 2, accumulate: true },
  { format: "F32", rows: 31, cols: 130, tokens: 1, activations: f32, tile: 2, nu: 1, tiles: 2 },
];

describeKernels("blockings", (isa) =>
  CHOICES.flatMap((choice) => projectionCases(isa, shapeOf(isa, choice), [ordinary, integers, extremes])),
);

describe.each(["int8", "f32"] as const)("an error in one weight is noticed, %s activations", (kind) => {
  const common = { rows: 9, cols: 172, tokens: 1, nu: 1 };
  const activations = kind === "f32" ? f32 : int8(32);

  test.each([
    ["Q4_0", "scale", 0, 1],
    ["Q4_0", "code", 2, 1],
    ["Q4_1", "minimum", 3, 1],
    ["3bit-g32", "scale", 0, 4],
    ["3bit-g32", "zero point", 2, 1],
    ["3bit-g32", "code", 3, 1],
    ["3bit-g32", "code that is spread over the words", 3, 8],
    ["Q1_0", "scale", 0, 1],
    ["Q1_0", "sign", 3, 4],
    ["8bit-g128", "scale", 0, 1],
    ["8bit-g128", "code", 3, 1],
  ])("%s, one bit of a %s", (format, _, byte, bit) => {
    const tile = sharedVectors(formatNamed(format), avx2);
    const shape = shapeOf(avx2, { ...common, tile, format, activations });
    const data = ordinary(shape);
    const run = (source: Uint8Array) => {
      const work = projectionWork(avx2, shape, data, source);
      const after = interpreted(work);
      return () => work.checkOutputs(after);
    };
    expect(run(data.source)).not.toThrow();
    const wrong = data.source.slice();
    wrong[byte]! ^= bit;
    expect(run(wrong)).toThrow(/token 0, row 0/);
  });
});
