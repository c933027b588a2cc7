import type { PackedStrings } from "./packed-strings.ts";

/** Scalar metadata types and what TypeScript holds for each. */
export interface GgufScalars {
  u8: number;
  i8: number;
  u16: number;
  i16: number;
  u32: number;
  i32: number;
  u64: bigint;
  i64: bigint;
  f32: number;
  f64: number;
  bool: boolean;
  string: string;
}

/** Types an array's elements can have, and what holds the elements. Booleans are bytes, 0 or 1. */
export interface GgufElements {
  u8: Uint8Array;
  i8: Int8Array;
  u16: Uint16Array;
  i16: Int16Array;
  u32: Uint32Array;
  i32: Int32Array;
  u64: BigUint64Array;
  i64: BigInt64Array;
  f32: Float32Array;
  f64: Float64Array;
  bool: Uint8Array;
  string: PackedStrings;
  array: readonly GgufArray[];
}

export type GgufScalarType = keyof GgufScalars;
export type GgufElementType = keyof GgufElements;
export type GgufType = GgufScalarType | "array";

export type GgufScalar<T extends GgufScalarType = GgufScalarType> = {
  readonly [K in T]: { readonly type: K; readonly value: GgufScalars[K] };
}[T];

export type GgufArray = {
  readonly [K in GgufElementType]: {
    readonly type: "array";
    readonly of: K;
    readonly values: GgufElements[K];
  };
}[GgufElementType];

/** A metadata value with the type it has (or gets) in the file. */
export type GgufValue = GgufScalar | GgufArray;

/** `enum gguf_type`, the numbers in the file. */
export const GGUF_TYPE_IDS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const satisfies Record<GgufType, number>;

const BY_ID = new Map<number, GgufType>(
  (Object.keys(GGUF_TYPE_IDS) as GgufType[]).map((type) => [GGUF_TYPE_IDS[type], type]),
);

/** The metadata type with this id, if there is one. */
export function ggufTypeOf(id: number): GgufType | undefined {
  return BY_ID.get(id);
}

/** The typed array for each element type that has one. Its bytes are the file's: hosts are little-endian. */
export const GGUF_TYPED_ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
  bool: Uint8Array,
} as const;

export type GgufTypedElement = keyof typeof GGUF_TYPED_ARRAYS;

/**
 * What a header may hold. Each limit is some times what the largest published models have, and all together keep
 * a hostile header under 200 MB of memory.
 */
export const GGUF_LIMITS = {
  /** Everything before the tensor data (bytes); a tokenizer of 262,144 tokens and its merges takes about 16 MB. */
  headerBytes: 48 << 20,
  metadataEntries: 1 << 16,
  tensors: 1 << 16,
  keyBytes: 65535,
  tensorNameBytes: 1024,
  /** One metadata string (bytes). */
  stringBytes: 4 << 20,
  /** Elements of one array. */
  arrayLength: 1 << 22,
  /** Strings in all arrays together. */
  arrayStrings: 1 << 21,
  /** Arrays within arrays: how deep, and how many in the file. */
  arrayDepth: 4,
  nestedArrays: 1 << 14,
  dimensions: 4,
  alignment: 1 << 24,
} as const;

export const GGUF_DEFAULT_ALIGNMENT = 32;
