import type { Target } from "../../src/ir/types.ts";

/** Bytes of a lane are neighbours, as on every x86 and Arm target. */
const inOrder = (lane: number, i: number) => 4 * lane + i;

/** WebAssembly's: lane j is fed by bytes 2j, 2j + 1, 8 + 2j, 9 + 2j. */
const split = (lane: number, i: number) => 2 * lane + (i & 1) + 8 * (i >> 1);

const inPlace = () => Number.POSITIVE_INFINITY;
/** Sums of pairs of products in 16 bits, as on AVX2. */
const inPairs = (bits: number) =>
  bits === 8 ? Number.POSITIVE_INFINITY : Math.floor(32767 / (2 * (2 ** bits - 1) * 127));

export const four: Target = {
  name: "four",
  lanes: 4,
  dotByte: inOrder,
  dot8Offset: 0,
  dotLinks: inPlace,
  fusedMultiplyAdd: true,
  signs: { bits: 8, fields: [4, 4] },
};
export const fourSplit: Target = {
  name: "four-split",
  lanes: 4,
  dotByte: split,
  dot8Offset: 128,
  dotLinks: inPairs,
  fusedMultiplyAdd: false,
  signs: { bits: 8, fields: [4, 4] },
};
export const eight: Target = {
  name: "eight",
  lanes: 8,
  dotByte: inOrder,
  dot8Offset: 0,
  dotLinks: inPairs,
  fusedMultiplyAdd: true,
  signs: { bits: 8, fields: [4, 4] },
};
export const sixteen: Target = {
  name: "sixteen",
  lanes: 16,
  dotByte: inOrder,
  dot8Offset: 0,
  dotLinks: inPlace,
  fusedMultiplyAdd: true,
  signs: { bits: 16, fields: [5, 5, 6] },
};

export const targets: readonly Target[] = [four, fourSplit, eight, sixteen];
