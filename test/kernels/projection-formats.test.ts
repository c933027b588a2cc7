import { at } from "../../src/base/assert.ts";
import { alignUp } from "../../src/base/bytes.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { nests } from "../../src/kernels/activations.ts";
import { blockSize, FORMATS, type Format, isSigns } from "../../src/quant/formats.ts";
import { sharedVectors } from "../../src/quant/packing.ts";
import { describeKernels } from "./bench.ts";
import { wholeBlocks } from "./matrices.ts";
import { projectionCases, type Shape } from "./projection-case.ts";
import { extremes, integers, ordinary } from "./projection-data.ts";

const ROWS = [1, 7, 8, 9, 31, 33, 100, 127, 172];
const COLS = [1, 7, 31, 32, 33, 64, 127, 160, 172, 320];
const BLOCKS = [32, 64, 128, "row"] as const;

/** Row vectors of a tile, and tokens. Larger ones take long to compile, and add nothing here. */
const MICRO = [
  [1, 1],
  [2, 1],
  [4, 1],
  [1, 2],
  [2, 2],
  [1, 3],
] as const;

/** Inputs of an activation scale. Where the groups of a block share something, it is short or spans the block. */
function blocksFor(format: Format): readonly (number | "row")[] {
  return format.kind === "quantized" && format.block !== undefined ? [32, format.block, "row"] : BLOCKS;
}

/** Codes of 8 bits are bytes, and what is looked up is never unpacked. */
function canExpand(format: Format): boolean {
  return format.kind === "quantized" && format.bits < 8 && !isSigns(format);
}

/** A shape and a blocking for a format, drawn so that all the formats together see every kind of each. */
function draw(format: Format, kind: "int8" | "f32", isa: Isa, rng: Rng): Shape {
  const pick = <T>(values: readonly T[]): T => at(values, rng.integer(values.length));
  const cols = wholeBlocks(format, pick(COLS));
  const group = format.kind === "quantized" ? blockSize(format, cols) : cols;
  const blocks = blocksFor(format).filter((block) => block === "row" || nests(group, block, cols));
  const block = pick(blocks);
  const [some, nu] = pick(MICRO);
  const tile = alignUp(some, sharedVectors(format, isa));
  const unit = Math.max(group, kind === "int8" && block !== "row" ? block : 1);
  const parts = [1, 2].map((n) => n * unit).filter((mb) => mb < cols);
  const tu = tile * isa.lanes;
  return {
    format,
    cols,
    activations: kind === "f32" ? { kind } : { kind, block },
    blocking: {
      mb: format.kind === "float" ? cols : pick([cols, ...parts]),
      tb: nu === 1 ? tu : tu * pick([1, 2, 3]),
      mu: pick([32, 64]),
      tu,
      nu,
      expand: canExpand(format) && kind === "int8" && pick([true, false]),
    },
    accumulate: rng.integer(3) === 0,
    rows: pick(ROWS),
    tokens: pick([1, 2, 3, 5]),
    threads: pick([1, 3]),
  };
}

/** What is drawn for a format: less for the members of the family that are like others. */
function kindsOf({ kind, name }: Format): readonly ("int8" | "f32")[] {
  if (kind === "float") return ["f32"];
  return /-g(64|128)/.test(name) ? ["int8"] : ["int8", "f32"];
}

describeKernels("projections of every format", (isa) =>
  [...FORMATS.values()].flatMap((format, n) => {
    const rng = new Rng(n);
    return kindsOf(format).flatMap((kind) => {
      const shape = draw(format, kind, isa, rng);
      return projectionCases(isa, shape, [ordinary, integers, extremes]);
    });
  }),
);
