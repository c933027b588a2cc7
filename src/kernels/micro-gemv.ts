import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { CHUNK, fieldStride, fieldsPerByte, type QuantizedFormat } from "../quant/formats.ts";
import { type Packing, planeOffset } from "../quant/packing.ts";
import type { ActivationLayout } from "./activations.ts";
import type { Cursor } from "./work.ts";

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

export interface Field {
  readonly codes: Value<"vu8">;
  /** Offset of the first of its four inputs in the chunk. */
  readonly input: number;
}

/** First inputs of the eight registers of a chunk, in the order in which they are unpacked. */
export const INPUTS = Array.from({ length: CHUNK / 4 }, (_, i) => 4 * i);

/**
 * The eight code registers of a chunk for row vector u: per 4-input step, the planes' fields joined.
 * Word r, field f of a plane of width w holds inputs f·4w + 4r … + 3.
 */
export function unpackChunk({ b, format, pack }: Context, codes: Cursor, u: number): Field[] {
  const registerBytes = 4 * pack.lanes;
  const parts = new Map<number, Value<"vu8">>();
  let position = 0;
  format.planes.forEach((width, plane) => {
    const base = planeOffset(format.planes, plane, pack.tileRows);
    for (let word = 0; word < width; word++) {
      const offset = codes.offset + base + (word * pack.tile + u) * registerBytes;
      const register = b.named(`w${u}`, b.op.vu8load(codes.pointer, { offset, bits: 8 }));
      for (let f = 0; f < fieldsPerByte(width); f++) {
        const input = f * fieldStride(width) + 4 * word;
        const field =
          width === 8 ? register : b.op.vfield(register, { shift: f * width, bits: width, position });
        const low = parts.get(input);
        parts.set(input, low === undefined ? field : b.op.vu8or(low, field));
      }
    }
    position += width;
  });
  return [...parts]
    .sort(([a], [z]) => a - z)
    .map(([input, value]) => ({ input, codes: b.named(`q${u}_k${input}`, value) }));
}

/** The zero points of row vector u, less `offset`. */
export function zeroPoints({ b, pack }: Context, record: Cursor, u: number, offset: number): Value<"vf32"> {
  const codes = b.op.vu8loadlanes(record.pointer, { offset: record.offset + pack.zeroAt + u * pack.lanes });
  return b.op.vitof(offset === 0 ? codes : b.op.visub(codes, b.op.viconst({ value: offset })));
}
