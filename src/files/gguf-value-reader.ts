import type { ByteReader } from "../base/bytes.ts";
import {
  GGUF_LIMITS,
  GGUF_TYPED_ARRAYS,
  type GgufArray,
  type GgufElements,
  type GgufElementType,
  type GgufScalar,
  type GgufScalars,
  type GgufScalarType,
  type GgufType,
  type GgufValue,
  ggufTypeOf,
} from "./gguf-values.ts";
import { PackedStrings } from "./packed-strings.ts";
import type { WindowReader } from "./window.ts";

type FixedType = Exclude<GgufScalarType, "string">;

const READ_SCALAR: { readonly [K in FixedType]: (from: ByteReader, field: string) => GgufScalars[K] } = {
  u8: (from, field) => from.u8(field),
  i8: (from, field) => from.i8(field),
  u16: (from, field) => from.u16(field),
  i16: (from, field) => from.i16(field),
  u32: (from, field) => from.u32(field),
  i32: (from, field) => from.i32(field),
  u64: (from, field) => from.u64(field),
  i64: (from, field) => from.i64(field),
  f32: (from, field) => from.f32(field),
  f64: (from, field) => from.f64(field),
  bool: (from, field) => from.u8(field) !== 0,
};

/** Bytes that a value of each type takes in the file, at least. */
export const LEAST_BYTES: Readonly<Record<GgufType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  array: 12,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** Reads metadata values, and keeps count of what may only occur so often in one file. */
export class GgufValueReader {
  private arrayStrings = 0;
  private nestedArrays = 0;

  constructor(private readonly from: WindowReader) {}

  /** A string of at most `limit` bytes with its length in front. */
  async string(field: string, limit: number): Promise<string> {
    const { from } = this;
    await from.need(8, field);
    const length = from.count(field, limit);
    await from.need(length, field);
    return from.string(field, length);
  }

  /** The id of a type and then a value of that type. */
  async value(field: string): Promise<GgufValue> {
    const type = await this.type(field);
    if (type === "array") return this.array(field, 1);
    if (type === "string") return { type, value: await this.string(field, GGUF_LIMITS.stringBytes) };
    await this.from.need(LEAST_BYTES[type], field);
    // The table's row for `type` returns the value that goes with `type`.
    return { type, value: READ_SCALAR[type](this.from, field) } as GgufScalar;
  }

  private async type(field: string): Promise<GgufType> {
    await this.from.need(4, field);
    const id = this.from.u32(field);
    const type = ggufTypeOf(id);
    if (type === undefined)
      throw this.from.error(field, `has metadata type ${id}, which GGUF does not define`);
    return type;
  }

  private async array(field: string, depth: number): Promise<GgufArray> {
    const { from } = this;
    const of = await this.type(field);
    await from.need(8, field);
    const length = from.count(field, GGUF_LIMITS.arrayLength);
    if (length * LEAST_BYTES[of] > from.left) {
      throw from.error(
        field,
        `an array of ${length} × ${of} cannot fit into the ${from.left} bytes that follow`,
      );
    }
    if (of === "string") return { type: "array", of, values: await this.strings(field, length) };
    if (of === "array") return { type: "array", of, values: await this.arrays(field, length, depth + 1) };
    return { type: "array", of, values: await this.fixed(field, of, length) } as GgufArray;
  }

  private async fixed<K extends Exclude<GgufElementType, "string" | "array">>(
    field: string,
    of: K,
    length: number,
  ): Promise<GgufElements[K]> {
    const byteLength = length * LEAST_BYTES[of];
    await this.from.need(byteLength, field);
    const copy = new Uint8Array(this.from.slice(field, byteLength));
    if (of === "bool") for (let i = 0; i < length; i++) copy[i] = copy[i] === 0 ? 0 : 1;
    return new GGUF_TYPED_ARRAYS[of](copy.buffer) as GgufElements[K];
  }

  private async strings(field: string, length: number): Promise<PackedStrings> {
    const { from } = this;
    const start = from.position;
    this.arrayStrings += length;
    if (this.arrayStrings > GGUF_LIMITS.arrayStrings) {
      throw from.error(field, `the file has more than ${GGUF_LIMITS.arrayStrings} strings in arrays`);
    }
    const ends = new Uint32Array(length);
    for (let i = 0; i < length; i++) {
      // Without a promise per element: vocabularies have 10^5 of them.
      if (from.remaining < 8) await from.need(8, field);
      const byteLength = from.count(field, GGUF_LIMITS.stringBytes);
      if (from.remaining < byteLength) await from.need(byteLength, field);
      from.skip(field, byteLength);
      ends[i] = from.position - start;
    }
    return new PackedStrings(await from.since(start), ends);
  }

  private async arrays(field: string, length: number, depth: number): Promise<readonly GgufArray[]> {
    this.nestedArrays += length;
    if (depth > GGUF_LIMITS.arrayDepth) {
      throw this.from.error(field, `arrays are nested more than ${GGUF_LIMITS.arrayDepth} deep`);
    }
    if (this.nestedArrays > GGUF_LIMITS.nestedArrays) {
      throw this.from.error(field, `the file has more than ${GGUF_LIMITS.nestedArrays} arrays within arrays`);
    }
    const values: GgufArray[] = [];
    for (let i = 0; i < length; i++) values.push(await this.array(field, depth));
    return values;
  }
}
