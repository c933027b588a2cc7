/** How a ggml tensor type is stored. */
export interface GgmlTypeInfo {
  /** `enum ggml_type`, the number in the file. */
  readonly id: number;
  /** Weights in one block; a row holds whole blocks. */
  readonly weights: number;
  /** Bytes of one block. */
  readonly bytes: number;
}

/**
 * Every tensor type of GGUF (ggml.h `enum ggml_type`, ggml-common.h `block_*`, read in 2026). The byte counts are
 * sums over the block's fields: f16 or f32 scales and minimums, sub-block scales, codes, high bits.
 */
export const GGML_TYPES = {
  F32: { id: 0, weights: 1, bytes: 4 },
  F16: { id: 1, weights: 1, bytes: 2 },
  Q4_0: { id: 2, weights: 32, bytes: 2 + 16 },
  Q4_1: { id: 3, weights: 32, bytes: 2 + 2 + 16 },
  Q5_0: { id: 6, weights: 32, bytes: 2 + 4 + 16 },
  Q5_1: { id: 7, weights: 32, bytes: 2 + 2 + 4 + 16 },
  Q8_0: { id: 8, weights: 32, bytes: 2 + 32 },
  Q8_1: { id: 9, weights: 32, bytes: 2 + 2 + 32 },
  Q2_K: { id: 10, weights: 256, bytes: 16 + 64 + 2 + 2 },
  Q3_K: { id: 11, weights: 256, bytes: 32 + 64 + 12 + 2 },
  Q4_K: { id: 12, weights: 256, bytes: 2 + 2 + 12 + 128 },
  Q5_K: { id: 13, weights: 256, bytes: 2 + 2 + 12 + 32 + 128 },
  Q6_K: { id: 14, weights: 256, bytes: 128 + 64 + 16 + 2 },
  Q8_K: { id: 15, weights: 256, bytes: 4 + 256 + 32 },
  IQ2_XXS: { id: 16, weights: 256, bytes: 2 + 64 },
  IQ2_XS: { id: 17, weights: 256, bytes: 2 + 64 + 8 },
  IQ3_XXS: { id: 18, weights: 256, bytes: 2 + 96 },
  IQ1_S: { id: 19, weights: 256, bytes: 2 + 32 + 16 },
  IQ4_NL: { id: 20, weights: 32, bytes: 2 + 16 },
  IQ3_S: { id: 21, weights: 256, bytes: 2 + 64 + 8 + 32 + 4 },
  IQ2_S: { id: 22, weights: 256, bytes: 2 + 64 + 8 + 8 },
  IQ4_XS: { id: 23, weights: 256, bytes: 2 + 2 + 4 + 128 },
  I8: { id: 24, weights: 1, bytes: 1 },
  I16: { id: 25, weights: 1, bytes: 2 },
  I32: { id: 26, weights: 1, bytes: 4 },
  I64: { id: 27, weights: 1, bytes: 8 },
  F64: { id: 28, weights: 1, bytes: 8 },
  IQ1_M: { id: 29, weights: 256, bytes: 32 + 16 + 8 },
  BF16: { id: 30, weights: 1, bytes: 2 },
  TQ1_0: { id: 34, weights: 256, bytes: 48 + 4 + 2 },
  TQ2_0: { id: 35, weights: 256, bytes: 64 + 2 },
  MXFP4: { id: 39, weights: 32, bytes: 1 + 16 },
  NVFP4: { id: 40, weights: 64, bytes: 4 + 32 },
  Q1_0: { id: 41, weights: 128, bytes: 2 + 16 },
  Q2_0: { id: 42, weights: 64, bytes: 2 + 16 },
} as const satisfies Record<string, GgmlTypeInfo>;

export type GgmlType = keyof typeof GGML_TYPES;

/** Types that older files have and ggml no longer reads, by id. */
const REMOVED: Readonly<Record<number, string>> = {
  4: "Q4_2",
  5: "Q4_3",
  31: "Q4_0_4_4",
  32: "Q4_0_4_8",
  33: "Q4_0_8_8",
  36: "IQ4_NL_4_4",
  37: "IQ4_NL_4_8",
  38: "IQ4_NL_8_8",
};

const BY_ID = new Map<number, GgmlType>(
  (Object.keys(GGML_TYPES) as GgmlType[]).map((name) => [GGML_TYPES[name].id, name]),
);

/** The type with this id, if there is one. */
export function ggmlTypeOf(id: number): GgmlType | undefined {
  return BY_ID.get(id);
}

/** An id that `ggmlTypeOf` does not know, in words. */
export function unknownTypeName(id: number): string {
  const removed = REMOVED[id];
  return removed === undefined
    ? `${id}, which this version does not know`
    : `${id} (${removed}), which was removed from GGUF: convert the model again`;
}

/**
 * Bytes of a tensor, or what is wrong with its shape.
 * @param shape in ggml's order: `shape[0]` is the row, contiguous in memory; at most 2^53 − 1 each
 */
export function measureTensor(
  type: GgmlType,
  shape: readonly number[],
): { readonly byteLength: number } | { readonly problem: string } {
  const { weights, bytes } = GGML_TYPES[type];
  const wrong = shape.findIndex((extent) => !Number.isSafeInteger(extent) || extent < 1);
  if (wrong >= 0) return { problem: `dimension ${wrong} is ${shape[wrong]}, not a whole number from 1` };
  const row = shape[0] ?? 1;
  if (row % weights !== 0)
    return { problem: `rows of ${row} weights are no multiple of ${type}'s ${weights}` };
  const count = shape.reduce((product, extent) => product * BigInt(extent), 1n);
  const byteLength = (count / BigInt(weights)) * BigInt(bytes);
  if (count > Number.MAX_SAFE_INTEGER || byteLength > Number.MAX_SAFE_INTEGER) {
    return { problem: `${count} weights (${byteLength} bytes) are too many` };
  }
  return { byteLength: Number(byteLength) };
}
