/** Codes of a fixed width in 32-bit words, least significant bits first. */

/** Words that `count` codes take as one stream of bits. */
export function wordsOf(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32);
}

/**
 * `count` codes that follow each other bit by bit, also from one word to the next (3 bits: 32 codes in 3 words), from word
 * `start` on.
 */
export function unpackStream(
  words: Uint32Array,
  start: number,
  bits: number,
  into: Uint8Array,
  count: number,
): void {
  const mask = 2 ** bits - 1;
  for (let k = 0; k < count; k++) {
    const at = start + ((k * bits) >>> 5);
    const shift = (k * bits) & 31;
    let code = words[at]! >>> shift;
    if (shift + bits > 32) code |= words[at + 1]! << (32 - shift);
    into[k] = code & mask;
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

/** Codes as one stream of bits, in words from `start` on. */
export function packStream(codes: Uint8Array, bits: number, into: Uint32Array, start: number): void {
  into.fill(0, start, start + wordsOf(codes.length, bits));
  for (let k = 0; k < codes.length; k++) {
    const at = start + ((k * bits) >>> 5);
    const shift = (k * bits) & 31;
    into[at]! |= codes[k]! << shift;
    if (shift + bits > 32) into[at + 1]! |= codes[k]! >>> (32 - shift);
  }
}

/**
 * Streams of codes in another order, for `rows` rows whose words are `stride` apart in both: code k is that of place
 * `order[k]`.
 */
export function reorderStreams(
  from: Uint32Array,
  into: Uint32Array,
  order: Uint32Array,
  bits: number,
  rows: number,
  stride: number,
): void {
  const mask = 2 ** bits - 1;
  const end = rows * stride;
  into.fill(0, 0, end);
  for (let k = 0; k < order.length; k++) {
    const [source, target] = [order[k]! * bits, k * bits];
    const [low, at] = [source & 31, target & 31];
    const isSplit = low + bits > 32;
    const fits = at + bits <= 32;
    for (
      let row = 0, a = source >>> 5, b = target >>> 5;
      row < end;
      row += stride, a += stride, b += stride
    ) {
      let code = from[a]! >>> low;
      if (isSplit) code |= from[a + 1]! << (32 - low);
      code &= mask;
      into[b]! |= code << at;
      if (!fits) into[b + 1]! |= code >>> (32 - at);
    }
  }
}
