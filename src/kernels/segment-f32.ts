import type { Cell } from "../ir/builder.ts";
import type { SignWords, Value } from "../ir/types.ts";
import { CHUNK, chunkCount } from "../quant/formats.ts";
import { signPlace } from "../quant/sign-words.ts";
import { type GroupHeads, groupMinima, groupScales, groupZeroPoints } from "./group-values.ts";
import {
  type CodesOf,
  type Context,
  chunkCodes,
  inputOrder,
  loadSigns,
  type SegmentCursors,
  type Weights,
} from "./micro-gemv.ts";
import { type Cursor, steps } from "./work.ts";

/** The values of input `input + i`, a row a lane. */
type ValuesOf = (input: number) => (i: number) => Value<"vi32">;

/** Calls its argument for some inputs, four at a time: with the values of a row vector, where x stands, the first input. */
export type Quads = (
  body: (u: number, valuesOf: ValuesOf, xs: readonly Cursor[], input: number) => void,
) => void;

/** acc += scale · (Σ q·x − z·Σx) over one segment, which is a group: weights dequantized in registers. */
export function floatSegment(
  c: Context,
  heads: GroupHeads,
  g: number,
  at: SegmentCursors,
  quads: Quads,
): void {
  const { b, format, pack, acc } = c;
  const { zero } = format;
  const sums = at.sums.map((s) => b.op.fload(s.pointer, { offset: s.offset }));
  const products = sums.map((sum, t) =>
    Array.from({ length: pack.tile }, (_, u) =>
      b.variable(
        `sum${t}_${u}`,
        zero.kind === "constant"
          ? b.op.vfsplat(b.op.fmul(sum, b.f(-zero.value)))
          : b.op.vfconst({ value: 0 }),
      ),
    ),
  );
  quads((u, valuesOf, xs, input) => {
    const four = valuesOf(input);
    for (let i = 0; i < 4; i++) {
      const weight = b.op.vitof(four(i));
      xs.forEach((x, t) => {
        const cell = (products[t] as Cell<"vf32">[])[u] as Cell<"vf32">;
        const value = b.op.fload(x.pointer, { offset: x.offset + 4 * (input + i) });
        cell.set(b.op.vfma(weight, b.op.vfsplat(value), cell.get()));
      });
    }
  });
  for (let u = 0; u < pack.tile; u++) {
    const scale = groupScales(c, heads, g, u);
    sums.forEach((sum, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const product = ((products[t] as Cell<"vf32">[])[u] as Cell<"vf32">).get();
      if (zero.kind === "minimum" || zero.kind === "product") {
        cell.set(b.op.vfma(groupMinima(c, heads, g, u), b.op.vfsplat(sum), cell.get()));
      }
      const negated = b.op.vfsplat(b.op.fsub(b.f(0), sum));
      const centred =
        zero.kind === "code" ? b.op.vfma(groupZeroPoints(c, heads, g, u, 0), negated, product) : product;
      cell.set(b.op.vfma(centred, scale, cell.get()));
    });
  }
}

/** All inputs of whole chunks. */
export function wholeChunks(c: Context, codes: Cursor, inputs: number, xs: readonly Cursor[]): Quads {
  const { b, pack } = c;
  const moving: Record<string, readonly [Cursor, number]> = { codes: [codes, pack.chunkBytes] };
  xs.forEach((x, t) => {
    moving[`x${t}`] = [x, 4 * CHUNK];
  });
  return (body) =>
    steps(b, "chunk", chunkCount(inputs), 1, moving, (here) => {
      const at = xs.map((_, t) => here[`x${t}`] as Cursor);
      for (let u = 0; u < pack.tile; u++) {
        const codes = here.codes as Cursor;
        const valuesOf = pack.signs
          ? signValues(c, pack.signs, codes, u)
          : lanesOf(c, chunkCodes(c, codes, u, false));
        for (const input of inputOrder(pack)) body(u, valuesOf, at, input);
      }
    });
}

/** Some inputs of one chunk. */
export function chunkQuads(
  c: Context,
  codesOf: readonly CodesOf[],
  inputs: readonly number[],
  xs: readonly Cursor[],
): Quads {
  return (body) =>
    codesOf.forEach((codes, u) => {
      for (const input of inputs) body(u, lanesOf(c, codes), xs, input);
    });
}

function lanesOf({ b }: Weights, codesOf: CodesOf): ValuesOf {
  return (input) => {
    const four = codesOf(input);
    return (i) => b.op.vbyteof(four, { index: i });
  };
}

/** The values of a chunk of signs for row vector u. */
function signValues(weights: Weights, words: SignWords, codes: Cursor, u: number): ValuesOf {
  const { b, format } = weights;
  const { op } = b;
  return (input) => {
    const signs = loadSigns(weights, codes, Math.floor(input / words.bits), u);
    return (i) => {
      const { byte, bit } = signPlace(words, u, input + i);
      const code = op.vfield(signs, { shift: bit, mask: 1 });
      return op.vbyteof(op.vlookup(code, { table: format.table ?? [] }), { index: byte });
    };
  };
}
