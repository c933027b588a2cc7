import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { type Quad, quads, slotBits, upOf } from "../quant/chunks.ts";
import { type QuantizedFormat, valueBits } from "../quant/formats.ts";
import { type Packing, wordOffset } from "../quant/packing.ts";
import type { ActivationLayout } from "./activations.ts";
import { advance, type Cursor, prefetch } from "./work.ts";

/** matrix[token][row vector] */
export type Matrix<T> = readonly (readonly T[])[];

/** Quantized weights as kernels read them: from memory as packed, or expanded in a cache (`kernels/expand.ts`). */
export interface Weights {
  readonly b: KernelBuilder;
  readonly format: QuantizedFormat;
  readonly pack: Packing;
}

/** What the parts of a micro-GEMV over quantized weights share. */
export interface Context extends Weights {
  readonly layout: ActivationLayout;
  /** Chunks unrolled at most, where a segment is longer. */
  readonly unrolledChunks: number;
  /** acc[token][row vector]: the f32 outputs of the micro-GEMV. */
  readonly acc: Matrix<Cell<"vf32">>;
}

/** Where the inputs of a segment stand, one cursor per token. */
export interface SegmentCursors {
  readonly x: readonly Cursor[];
  readonly scales: readonly Cursor[];
  readonly sums: readonly Cursor[];
}

/**
 * First inputs of the eight registers of a chunk, in the order in which they are multiplied: word after word, so that a
 * word can be forgotten then, and what is spread over all words at the end.
 */
export function inputOrder({ codeBits }: Packing): number[] {
  const wordOf = (quad: Quad) => (quad.kind === "together" ? quad.word : codeBits);
  return quads(codeBits)
    .map((quad, q) => ({ word: wordOf(quad), input: 4 * q }))
    .sort((a, b) => a.word - b.word)
    .map(({ input }) => input);
}

/** The values of a chunk for row vector u, four inputs a register, by their first input. */
export type CodesOf = (input: number) => Value<"vu8">;

/**
 * The values of a chunk for row vector u, by their first input; asked for in the order of `inputOrder`. A
 * word is loaded when its first code is asked for; what will be read in the time that memory takes is asked for with it,
 * if it comes from there.
 *
 * @param centred whether values of 8 bits are as `dot8` reads them; expanded, they already are
 * @param raw whether codes of odd slots stay up (`upBits`); values are codes then
 */
export function chunkCodes(
  weights: Weights,
  codes: Cursor,
  u: number,
  centred: boolean,
  raw = false,
): CodesOf {
  const { b, format, pack } = weights;
  const flip = centred && pack.stored && valueBits(format) === 8 && b.target.dot8Offset === 128;
  const bits = pack.codeBits;
  const mask = 2 ** bits - 1;
  const layout = quads(bits);
  const words: Value<"vu8">[] = [];
  let spread: readonly Value<"vu8">[] = [];
  const readTo = (word: number): Value<"vu8"> => {
    while (words.length <= word) {
      const next = loadWord(weights, codes, words.length, u);
      spread = gatherSpread(weights, words.length === 0 ? undefined : spread, next, u);
      words.push(next);
    }
    return words[word] as Value<"vu8">;
  };
  const code = (quad: Quad): Value<"vu8"> => {
    const word = readTo(quad.kind === "together" ? quad.word : bits - 1);
    if (bits === 8) return word;
    if (quad.kind === "together") {
      const left = raw ? upOf(bits, quad) : 0;
      return b.op.vfield(word, { shift: quad.shift - left, mask: mask << left });
    }
    const spare = quad.spare - bits;
    return b.op.vfield(spread[spare] as Value<"vu8">, { shift: quad.slot + spare, mask });
  };
  const { table } = format;
  const value = (quad: Quad) => {
    if (table === undefined || !pack.stored) return flip ? b.op.vu8flip(code(quad)) : code(quad);
    return b.op.vlookup(code(quad), { table: flip ? table.map((value) => value ^ 128) : table });
  };
  return (input) => b.named(`q${u}_k${input}`, value(layout[input / 4] as Quad));
}

/** Word `word` of the signs of a chunk, of the row vectors that share registers with row vector u. */
export function loadSigns(weights: Weights, codes: Cursor, word: number, u: number): Value<"vu8"> {
  const { op } = weights.b;
  return signs(weights, codes, word, u, ({ pointer, offset }) => op.vu8load(pointer, { offset, bits: 8 }));
}

/** The same as pairs of 16 bits. */
export function loadSignPairs(weights: Weights, codes: Cursor, word: number, u: number): Value<"vi32"> {
  const { op } = weights.b;
  return signs(weights, codes, word, u, ({ pointer, offset }) => op.viload(pointer, { offset }));
}

function signs<T extends "vu8" | "vi32">(
  weights: Weights,
  codes: Cursor,
  word: number,
  u: number,
  load: (at: Cursor) => Value<T>,
): Value<T> {
  const at = advance(codes, wordOffset(weights.pack, word, u));
  const loaded = weights.b.named("w", load(at));
  prefetchWeights(weights, at, 4 * weights.pack.lanes);
  return loaded;
}

/** By how many bits a code of `chunkCodes` is up in its byte, if `raw`. */
export function upBits({ codeBits }: Packing, input: number): number {
  return upOf(codeBits, quads(codeBits)[input / 4] as Quad);
}

/** Asks ahead for weights like the `bytes` bytes at `at`, if they come from memory. */
export function prefetchWeights({ b, pack }: Weights, at: Cursor, bytes: number): void {
  const { weightPrefetch, signPrefetch } = b.target;
  if (pack.stored) prefetch(b, at, bytes, pack.signs ? signPrefetch : weightPrefetch);
}

function loadWord(weights: Weights, codes: Cursor, word: number, u: number): Value<"vu8"> {
  const { b, format, pack } = weights;
  const offset = codes.offset + wordOffset(pack, word, u);
  const bits = pack.stored ? 8 : valueBits(format);
  const value = b.named(`w${u}`, b.op.vu8load(codes.pointer, { offset, bits }));
  prefetchWeights(weights, { pointer: codes.pointer, offset }, 4 * pack.lanes);
  return value;
}

/**
 * Collects the codes that are spread over the words of a chunk, for every spare bit of a slot those of all slots: each
 * word adds its bit and moves those of the words before it on by one, as what is added has other bits, and none at 0, so
 * that the mean is half the sum. After the last word, bit j of a code is where the slot has bit j, plus the spare bit's
 * number.
 */
function gatherSpread(
  { b, pack: { codeBits: bits } }: Weights,
  before: readonly Value<"vu8">[] | undefined,
  word: Value<"vu8">,
  u: number,
): readonly Value<"vu8">[] {
  const slot = slotBits(bits);
  const lowest = 255 / (2 ** slot - 1);
  return Array.from({ length: slot - bits }, (_, k) => {
    const mask = lowest << (bits + k);
    const moved =
      before === undefined
        ? b.op.vfield(word, { shift: 1, mask: mask >> 1 })
        : b.op.vu8mean(b.op.vfield(word, { shift: 0, mask }), before[k] as Value<"vu8">);
    return b.named(`s${u}`, moved);
  });
}
