import type { Block } from "./blocks.ts";

/**
 * Where bits of consecutive codes of a block go, five numbers for each stretch: code, counted from the first one; its first
 * bit; mask; byte of the block; bit of the byte.
 */
export type CodePlaces = Int32Array;

/** The places of `count` codes of a block from weight `first` on. */
export function codePlaces({ code }: Block, first: number, count: number): CodePlaces {
  const places = Array.from({ length: count }, (_, k) => {
    let low = 0;
    return code(first + k).map(({ byte, shift, bits }) => {
      low += bits;
      return [k, low - bits, 2 ** bits - 1, byte, shift];
    });
  });
  return Int32Array.from(places.flat(2));
}

/**
 * Puts the `count` codes that begin at `from`, each with the bits of `flip` turned over, into the block at byte `at`, where
 * there are zeros.
 */
export function writeCodes(
  codes: Uint8Array,
  from: number,
  count: number,
  flip: number,
  places: CodePlaces,
  bytes: Uint8Array,
  at: number,
): void {
  for (let i = 0; i < places.length && places[i]! < count; i += 5) {
    const code = (codes[from + places[i]!]! ^ flip) >>> places[i + 1]!;
    bytes[at + places[i + 3]!]! |= (code & places[i + 2]!) << places[i + 4]!;
  }
}
