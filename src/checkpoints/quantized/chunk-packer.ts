import { assert } from "../../base/assert.ts";
import { packChunk } from "../../quant/chunks.ts";
import { CHUNK, type QuantizedFormat } from "../../quant/formats.ts";

/** The lowest bit of each byte of a quad. */
const ONES = 0x01010101;

/** Bits of a quad that go to one place of a chunk: (quad & mask) << left >>> right, in a word. */
interface Move {
  readonly quad: number;
  readonly mask: number;
  readonly left: number;
  readonly right: number;
  readonly word: number;
}

/**
 * Packs chunks as `packChunk` does, several times as fast: quads move as a whole, and where to is found out by packing
 * chunks with a single bit.
 */
export class ChunkPacker {
  private readonly moves: readonly Move[];
  private readonly words: Uint32Array;

  constructor(format: QuantizedFormat) {
    this.words = new Uint32Array(format.bits);
    const moves: Move[] = [];
    for (let quad = 0; quad < CHUNK / 4; quad++) {
      for (let bit = 0; bit < format.bits; bit++) {
        const move = moveOf(format, quad, bit);
        const last = moves.at(-1);
        const joins =
          last?.quad === quad &&
          last.word === move.word &&
          last.left === move.left &&
          last.right === move.right;
        if (joins) moves.pop();
        moves.push(joins ? { ...move, mask: last.mask | move.mask } : move);
      }
    }
    this.moves = moves;
  }

  /** Packs the 32 codes of the quads from `at` on to bytes from `to` on. */
  pack(quads: Uint32Array, at: number, bytes: Uint8Array, to: number): void {
    const { moves, words } = this;
    words.fill(0);
    for (let i = 0; i < moves.length; i++) {
      const { quad, mask, left, right, word } = moves[i]!;
      words[word]! |= ((quads[at + quad]! & mask) << left) >>> right;
    }
    for (let i = 0, byte = to; i < words.length; i++) {
      const word = words[i]!;
      bytes[byte++] = word;
      bytes[byte++] = word >>> 8;
      bytes[byte++] = word >>> 16;
      bytes[byte++] = word >>> 24;
    }
  }
}

/** Where one bit of the codes of a quad goes. */
function moveOf({ bits }: QuantizedFormat, quad: number, bit: number): Move {
  const codes = new Uint8Array(CHUNK);
  codes.fill(1 << bit, 4 * quad, 4 * quad + 4);
  const words = new Uint32Array(packChunk(codes, bits).buffer);
  const word = words.findIndex((one) => one !== 0);
  const shift = 31 - Math.clz32(words[word]! & 0xff);
  assert(words[word] === (ONES << shift) >>> 0, "the codes of a quad do not lie in the four bytes of a word");
  return {
    quad,
    mask: ONES << bit,
    left: Math.max(0, shift - bit),
    right: Math.max(0, bit - shift),
    word,
  };
}
