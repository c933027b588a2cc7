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

/** Puts a row's stream, `count` words from word `start` on, among those of `rows` rows: word w at [w][row]. */
export function placeStream(
  words: Uint32Array,
  start: number,
  count: number,
  into: Uint32Array,
  row: number,
  rows: number,
): void {
  for (let w = 0, to = row; w < count; w++, to += rows) into[to] = words[start + w]!;
}

/** Codes that are moved together, which one word has where widths are powers of two. */
const TOGETHER = 4;

/** Streams of codes of `rows` rows, [word][row], in another order: code k is that of place `order[k]`. */
export function reorderStreams(
  from: Uint32Array,
  into: Uint32Array,
  order: Uint32Array,
  bits: number,
  rows: number,
): void {
  into.fill(0);
  const whole = 32 % bits === 0 ? order.length - (order.length % TOGETHER) : 0;
  moveFours(asSigned(from), asSigned(into), order, bits, rows, whole);
  for (let k = whole; k < order.length; k++) moveOne(from, into, order[k]!, bits, rows, k);
}

/** Words without a sign may become floats, which takes a third longer. */
function asSigned({ buffer, byteOffset, length }: Uint32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}

/** Codes 0 to `count` − 1, four by four, which are in one word each before, and in one together after. */
function moveFours(
  from: Int32Array,
  into: Int32Array,
  order: Uint32Array,
  bits: number,
  rows: number,
  count: number,
): void {
  const mask = 2 ** bits - 1;
  const perWord = 32 / bits;
  for (let k = 0; k < count; k += TOGETHER) {
    const [p, q, s, t] = [order[k]!, order[k + 1]!, order[k + 2]!, order[k + 3]!];
    const a = Math.floor(p / perWord) * rows;
    const b = Math.floor(q / perWord) * rows;
    const c = Math.floor(s / perWord) * rows;
    const d = Math.floor(t / perWord) * rows;
    const [lowA, lowB] = [(p % perWord) * bits, (q % perWord) * bits];
    const [lowC, lowD] = [(s % perWord) * bits, (t % perWord) * bits];
    const to = Math.floor(k / perWord) * rows;
    const first = (k % perWord) * bits;
    const [second, third, fourth] = [first + bits, first + 2 * bits, first + 3 * bits];
    for (let row = 0; row < rows; row++) {
      into[to + row]! |=
        (((from[a + row]! >>> lowA) & mask) << first) |
        (((from[b + row]! >>> lowB) & mask) << second) |
        (((from[c + row]! >>> lowC) & mask) << third) |
        (((from[d + row]! >>> lowD) & mask) << fourth);
    }
  }
}

/** Code k, which may be in two words, before and after. */
function moveOne(
  from: Uint32Array,
  into: Uint32Array,
  place: number,
  bits: number,
  rows: number,
  k: number,
): void {
  const mask = 2 ** bits - 1;
  const [low, at] = [(place * bits) & 31, (k * bits) & 31];
  const isSplit = low + bits > 32;
  const fits = at + bits <= 32;
  let a = ((place * bits) >>> 5) * rows;
  let b = ((k * bits) >>> 5) * rows;
  for (const end = a + rows; a < end; a++, b++) {
    let code = from[a]! >>> low;
    if (isSplit) code |= from[a + rows]! << (32 - low);
    code &= mask;
    into[b]! |= code << at;
    if (!fits) into[b + rows]! |= code >>> (32 - at);
  }
}
