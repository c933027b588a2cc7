import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { fieldStride, fieldsPerByte, type QuantizedFormat } from "../quant/formats.ts";
import { type Packing, planeOffset } from "../quant/packing.ts";
import type { ActivationLayout } from "./activations.ts";
import { type Cursor, prefetch } from "./work.ts";

/** matrix[token][row vector] */
export type Matrix<T> = readonly (readonly T[])[];

/** What the parts of a micro-GEMV over quantized weights share. */
export interface Context {
  readonly b: KernelBuilder;
  readonly format: QuantizedFormat;
  readonly pack: Packing;
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
 * will be read in the time that memory takes is asked for with it.
 */
export function chunkCodes(
  { b, format, pack }: Context,
  codes: Cursor,
  u: number,
): (input: number) => Value<"vu8"> {
  const words = new Map<number, Value<"vu8">>();
  const wordAt = (offset: number): Value<"vu8"> => {
    const known = words.get(offset);
    if (known !== undefined) return known;
    const word = b.named(`w${u}`, b.op.vu8load(codes.pointer, { offset, bits: 8 }));
    words.set(offset, word);
    prefetch(b, { pointer: codes.pointer, offset }, offset - codes.offset, 4 * pack.lanes);
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

/** The zero points of row vector u, less `offset`. */
export function zeroPoints({ b, pack }: Context, record: Cursor, u: number, offset: number): Value<"vf32"> {
  const codes = b.op.vu8loadlanes(record.pointer, { offset: record.offset + pack.zeroAt + u * pack.lanes });
  return b.op.vitof(offset === 0 ? codes : b.op.visub(codes, b.op.viconst({ value: offset })));
}
