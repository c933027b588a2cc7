import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { fieldStride, fieldsPerByte, type QuantizedFormat } from "../quant/formats.ts";
import { type Packing, planeOffset } from "../quant/packing.ts";
import type { ActivationLayout } from "./activations.ts";
import { type Cursor, prefetch } from "./work.ts";

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
 * First inputs of the eight registers of a chunk, in the order in which they are multiplied: the fields of one word of
 * the first plane after each other, so that the word can be forgotten then.
 */
export function inputOrder({ planes }: QuantizedFormat): number[] {
  const width = planes[0] as number;
  return Array.from({ length: width }, (_, word) =>
    Array.from({ length: fieldsPerByte(width) }, (_, field) => field * fieldStride(width) + 4 * word),
  ).flat();
}

/**
 * The codes of a chunk for row vector u, four inputs a register: the planes' fields joined. Word r, field f of a plane
 * of width w holds inputs f·4w + 4r … + 3. A word is loaded when its first field is asked for; what
 * will be read in the time that memory takes is asked for with it, if it comes from there.
 */
export function chunkCodes(
  { b, format, pack }: Weights,
  codes: Cursor,
  u: number,
): (input: number) => Value<"vu8"> {
  const words = new Map<number, Value<"vu8">>();
  const wordAt = (offset: number): Value<"vu8"> => {
    const known = words.get(offset);
    if (known !== undefined) return known;
    const word = b.named(
      `w${u}`,
      b.op.vu8load(codes.pointer, { offset, bits: pack.stored ? 8 : format.bits }),
    );
    words.set(offset, word);
    if (pack.stored) prefetch(b, { pointer: codes.pointer, offset }, offset - codes.offset, 4 * pack.lanes);
    return word;
  };
  return (input) => {
    let position = 0;
    const fields = format.planes.map((width, plane) => {
      const word = (input % fieldStride(width)) / 4;
      const base = planeOffset(format.planes, plane, pack.tileRows);
      const register = wordAt(codes.offset + base + (word * pack.tile + u) * 4 * pack.lanes);
      const shift = Math.floor(input / fieldStride(width)) * width;
      const at = position;
      position += width;
      return width === 8 ? register : b.op.vfield(register, { shift, bits: width, position: at });
    });
    return b.named(
      `q${u}_k${input}`,
      fields.reduce((low, high) => b.op.vu8or(low, high)),
    );
  };
}

/** The scales of row vector u of a record. */
export function scales({ b, pack }: Weights, record: Cursor, u: number): Value<"vf32"> {
  return headerFloats(b, pack, record, 0, u);
}

/** The minima of row vector u. */
export function minima({ b, pack }: Weights, record: Cursor, u: number): Value<"vf32"> {
  return headerFloats(b, pack, record, pack.zeroAt, u);
}

/** The zero points of row vector u, less `offset`. */
export function zeroPoints(w: Weights, record: Cursor, u: number, offset: number): Value<"vf32"> {
  const { b, pack } = w;
  if (!pack.stored) {
    const zeros = headerFloats(b, pack, record, pack.zeroAt, u);
    return offset === 0 ? zeros : b.op.vfsub(zeros, b.op.vfconst({ value: offset }));
  }
  const codes = b.op.vu8loadlanes(record.pointer, { offset: record.offset + pack.zeroAt + u * pack.lanes });
  return b.op.vitof(offset === 0 ? codes : b.op.visub(codes, b.op.viconst({ value: offset })));
}

/** Row vector u of the floats at `offset` in a record's header: f16 as stored, f32 as expanded. */
function headerFloats(
  b: KernelBuilder,
  { stored, lanes }: Packing,
  record: Cursor,
  offset: number,
  u: number,
): Value<"vf32"> {
  const at = record.offset + offset;
  return stored
    ? b.op.vhload(record.pointer, { offset: at + 2 * u * lanes })
    : b.op.vfload(record.pointer, { offset: at + 4 * u * lanes });
}
