import type { SignWords } from "../ir/types.ts";

/**
 * Bytes of the tables of a panel, a quarter of an L1 or less. The tables are read again for every row tile, and must stay
 * there, or prefetchers of the hardware lose the weights among their lines (Zen 4: 16 KiB are too much).
 */
const PANEL_TABLE_BYTES = 8192;

/** Row vectors of which a register has a word of signs. */
export function vectorsOfRegister({ bits }: SignWords): number {
  return 32 / bits;
}

/** Where the sign of input `input` of a chunk is, of row vector `vector`: among the four bytes of a lane, and the bit. */
export function signPlace(words: SignWords, vector: number, input: number): { byte: number; bit: number } {
  const { bits } = words;
  const first = (vector % vectorsOfRegister(words)) * (bits / 8);
  return { byte: first + Math.floor((input % bits) / 8), bit: input % 8 };
}

/** Bytes of the table of a field of `inputs` inputs: 16 bits for every choice of signs. */
export function tableBytes(inputs: number): number {
  return 2 * 2 ** inputs;
}

/** Bytes of tables for an input. */
export function inputTableBytes({ bits, fields }: SignWords): number {
  return fields.reduce((sum, inputs) => sum + tableBytes(inputs), 0) / bits;
}

/** Inputs of a panel. */
export function panelInputs(words: SignWords): number {
  return PANEL_TABLE_BYTES / inputTableBytes(words);
}
