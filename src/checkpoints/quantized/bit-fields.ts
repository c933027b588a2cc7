/**
 * Codes of a fixed width in 32-bit words, least significant bits first. They are unpacked to bytes four at a time: a quad
 * is four codes in a row as the bytes of a 32-bit number.
 */

/** `count` as quads. */
export function quadsOf(count: number): number {
  return Math.ceil(count / 4);
}

/** The four codes in the lowest 4 · bits bits of a word, a byte each. */
function spread(word: number, bits: number): number {
  const mask = (1 << bits) - 1;
  return (
    (word & mask) |
    ((word << (8 - bits)) & (mask << 8)) |
    ((word << (16 - 2 * bits)) & (mask << 16)) |
    ((word << (24 - 3 * bits)) & (mask << 24))
  );
}

/**
 * Quads of codes that follow each other bit by bit, also from one word to the next (3 bits: 32 codes in 3 words), for
 * `runs` runs side by side: words of run r are at `start + r` and then `stride` apart, its quads at r · `quadStride` of
 * `into`. What is after the last word counts as 0.
 */
export function unpackStreams(
  words: Uint32Array,
  start: number,
  stride: number,
  bits: number,
  runs: number,
  into: Uint32Array,
  quadStride: number,
  quads: number,
): void {
  const width = 4 * bits;
  for (let quad = 0; quad < quads; quad++) {
    const bit = quad * width;
    const at = start + (bit >>> 5) * stride;
    const shift = bit & 31;
    const isSplit = shift + width > 32;
    for (let run = 0, to = quad; run < runs; run++, to += quadStride) {
      let field = words[at + run]! >>> shift;
      if (isSplit) field |= words[at + run + stride]! << (32 - shift);
      into[to] = spread(field, bits);
    }
  }
}

/** `count` codes from word `start` on, as many in each word as it has whole codes (3 bits: 10, and 2 bits unused). */
export function unpackWhole(
  words: Uint32Array,
  start: number,
  stride: number,
  bits: number,
  into: Uint8Array,
  count: number,
): void {
  const mask = 2 ** bits - 1;
  const perWord = Math.floor(32 / bits);
  for (let k = 0, at = start; k < count; at += stride) {
    const end = Math.min(count, k + perWord);
    for (let word = words[at]!; k < end; word >>>= bits) into[k++] = word & mask;
  }
}
