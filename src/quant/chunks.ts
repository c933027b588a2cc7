/**
 * How the 32 codes of a chunk are stored. Codes of w bits take w words of four bytes. A byte is cut into slots of the
 * least power of two s ≥ w bits, the even slots first, then the odd ones; byte i of word j has in slot number f of this
 * order the code of input 4 · (f·w + j) + i, in the slot's low bits. So the first half of the inputs is in even slots. Where
 * s > w, the slots' spare bits hold the codes that are left: with k = 0 … s − w − 1, bit j of the code of
 * input 4 · (8w/s + 8k/s + f) + i is bit w + k of slot f of byte i of word j. So four inputs in a row, a quad, are the
 * four bytes of a word, in every word at the same place.
 *
 *     4 bits   byte i of word j: | 16 + 4j + i | 4j + i |                      GGUF's order of Q4_0 and Q4_1
 *     3 bits   byte i of word j: | bit j of 28 + i | 12 + 4j + i | bit j of 24 + i | 4j + i |
 *     2 bits   byte i of word j: | 24 + 4j + i | 8 + 4j + i | 16 + 4j + i | 4j + i |
 */

import { CHUNK } from "./formats.ts";

/** Where the codes of a quad are: together in the bits from `shift` on of one word, or bit j of each in word j. */
export type Quad =
  | { readonly kind: "together"; readonly word: number; readonly shift: number }
  | { readonly kind: "spread"; readonly slot: number; readonly spare: number };

/** Bits of a slot: codes of `bits` bits and their spare bits. */
export function slotBits(bits: number): number {
  return 2 ** Math.ceil(Math.log2(bits));
}

/** The quads of a chunk of codes of `bits` bits, in the order of the inputs. */
export function quads(bits: number): readonly Quad[] {
  const slot = slotBits(bits);
  const slots = 8 / slot;
  return Array.from({ length: CHUNK / 4 }, (_, quad): Quad => {
    const left = quad - bits * slots;
    return left < 0
      ? { kind: "together", word: quad % bits, shift: slotAt(Math.floor(quad / bits), slots) * slot }
      : { kind: "spread", slot: (left % slots) * slot, spare: bits + Math.floor(left / slots) };
  });
}

/**
 * Bits that the codes of odd slots may stay up, so that a word is shifted half as often: a slot's, where two slots are a
 * nibble at most.
 */
export function upOf(bits: number, quad: Quad): number {
  const slot = slotBits(bits);
  return quad.kind === "together" && 2 * slot <= 4 ? quad.shift % (2 * slot) : 0;
}

/** Slot number `f` of a byte's, the even ones first. */
function slotAt(f: number, slots: number): number {
  return 2 * f < slots ? 2 * f : 2 * f - slots + 1;
}

/** The bits of a byte of a word that are the top bit of a code. */
export function topBits(bits: number, word: number): number {
  return quads(bits).reduce((byte, quad) => {
    if (quad.kind === "together") return quad.word === word ? byte | (1 << (quad.shift + bits - 1)) : byte;
    return word === bits - 1 ? byte | (1 << (quad.slot + quad.spare)) : byte;
  }, 0);
}

/** Bytes of a chunk. */
export function chunkBytes(bits: number): number {
  return 4 * bits;
}
