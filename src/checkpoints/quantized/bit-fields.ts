/** Codes of a fixed width in 32-bit words, least significant bits first. */

/**
 * `count` codes that follow each other bit by bit, also from one word to the next (3 bits: 32 codes in 3 words). The
 * words of a run are `stride` words apart, the first one at `start`.
 */
export function unpackStream(
  words: Uint32Array,
  start: number,
  stride: number,
  bits: number,
  into: Uint8Array,
  count: number,
): void {
  const mask = 2 ** bits - 1;
  let at = start;
  let shift = 0;
  for (let k = 0; k < count; k++) {
    let code = words[at]! >>> shift;
    shift += bits;
    if (shift >= 32) {
      at += stride;
      shift -= 32;
      if (shift > 0) code |= words[at]! << (bits - shift);
    }
    into[k] = code & mask;
  }
}

/** `count` codes, as many in each word as it has whole codes (3 bits: 10 in a word, and 2 bits unused). */
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
