import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { SignWords, Value } from "../ir/types.ts";
import type { BitField } from "../quant/blocks.ts";
import { quads } from "../quant/chunks.ts";
import { type Packing, wordsOfChunk } from "../quant/packing.ts";
import { shifted } from "./work.ts";

/** Per lane the 4 bytes at an offset from a place in the lane's row. */
export type Fetch = (offset: number) => Value<"vi32">;

/** Reads every word once; of use where all that reads is in one block of the kernel. */
export function fetchOnce(fetch: Fetch): Fetch {
  const known = new Map<number, Value<"vi32">>();
  return (offset) => {
    const word = known.get(offset) ?? fetch(offset);
    known.set(offset, word);
    return word;
  };
}

/** Bits of a block, and what reads the words that they are in. */
export interface SourceField extends BitField {
  readonly fetch: Fetch;
}

/** Bits `shift` … `shift + bits − 1` of a packed byte, and the bits of a block that they come from. */
interface Atom {
  readonly shift: number;
  readonly bits: number;
  readonly source: SourceField;
}

/** Where the code of an input of a chunk is stored. */
export type CodeSource = (input: number) => readonly SourceField[];

/** Per lane the words of a chunk as packed, from the codes of a row vector, or of those that share registers. */
export function packedWords(
  b: KernelBuilder,
  packed: Packing,
  [code, ...others]: readonly [CodeSource, ...CodeSource[]],
): Value<"vi32">[] {
  const { codeBits, signs } = packed;
  const columnsOf = (word: number) =>
    signs
      ? [code, ...others].flatMap((ofRow) => signAtoms(signs, word, ofRow))
      : [0, 1, 2, 3].map((i) => atomsOf(codeBits, word, i, code));
  return Array.from({ length: wordsOfChunk(packed) }, (_, word) => {
    const columns = columnsOf(word);
    const moves = joinable(columns) ? movesTogether(columns) : movesByByte(columns);
    return added(b, moves);
  });
}

/** What the bytes of a row's signs are made of, word `word` of its chunk. */
function signAtoms({ bits }: SignWords, word: number, code: CodeSource): Atom[][] {
  return Array.from({ length: bits / 8 }, (_, byte) =>
    Array.from({ length: 8 }, (_, i) => bitsOf(code(bits * word + 8 * byte + i), 0, 1, i)).flat(),
  );
}

/** What byte `i` of a packed word is made of. */
function atomsOf(bits: number, word: number, i: number, code: CodeSource): Atom[] {
  return quads(bits).flatMap((quad, q) => {
    if (quad.kind === "together") {
      return quad.word === word ? bitsOf(code(4 * q + i), 0, bits, quad.shift) : [];
    }
    return bitsOf(code(4 * q + i), word, 1, quad.slot + quad.spare);
  });
}

/** Bits `first` … `first + count − 1` of a value in these fields, to stand from bit `shift` on. */
function bitsOf(fields: readonly SourceField[], first: number, count: number, shift: number): Atom[] {
  let low = 0;
  return fields.flatMap((field) => {
    const [from, to] = [Math.max(first, low), Math.min(first + count, low + field.bits)];
    const skipped = from - low;
    low += field.bits;
    if (from >= to) return [];
    const source = { ...field, shift: field.shift + skipped, bits: to - from };
    return [{ shift: shift + from - first, bits: to - from, source }];
  });
}

/** Whether the four bytes of a word come from four bytes in a row, all in the same way. */
function joinable(columns: readonly Atom[][]): boolean {
  const [first] = columns;
  assert(first !== undefined, "no columns");
  return columns.every(
    (atoms, i) =>
      atoms.length === first.length &&
      atoms.every(({ shift, source }, n) => {
        const other = first[n] as Atom;
        return (
          source.fetch === other.source.fetch &&
          source.byte === other.source.byte + i &&
          source.shift === other.source.shift &&
          shift === other.shift
        );
      }),
  );
}

/** Bits of a word, as a mask, and the word that they come from, `left` bits further down. */
interface WordMove {
  readonly fetch: Fetch;
  readonly byte: number;
  readonly left: number;
  readonly mask: number;
}

/** All columns at once. */
function movesTogether([atoms = []]: readonly Atom[][]): WordMove[] {
  return atoms.map(({ shift, bits, source: { fetch, byte, shift: from } }) => ({
    fetch,
    byte,
    left: shift - from,
    mask: ((2 ** bits - 1) << shift) * 0x01010101,
  }));
}

function movesByByte(columns: readonly Atom[][]): WordMove[] {
  return columns.flatMap((atoms, i) =>
    atoms.map(({ shift, bits, source: { fetch, byte, shift: from } }) => ({
      fetch,
      byte: byte & ~3,
      left: 8 * i + shift - (8 * (byte & 3) + from),
      mask: (2 ** bits - 1) << (8 * i + shift),
    })),
  );
}

/** All moves of a word; what comes from one word by the same distance is masked together. */
function added(b: KernelBuilder, moves: readonly WordMove[]): Value<"vi32"> {
  const different: WordMove[] = [];
  for (const move of moves) {
    const isSame = (m: WordMove) => m.fetch === move.fetch && m.byte === move.byte && m.left === move.left;
    const at = different.findIndex(isSame);
    const same = different[at];
    if (same === undefined) different.push(move);
    else different[at] = { ...same, mask: same.mask | move.mask };
  }
  return different
    .map(({ fetch, byte, left, mask }) => masked(b, shifted(b, fetch(byte), left), mask | 0))
    .reduce((low, high) => b.op.vior(low, high));
}

function masked({ op }: KernelBuilder, value: Value<"vi32">, mask: number): Value<"vi32"> {
  return mask === -1 ? value : op.viand(value, op.viconst({ value: mask }));
}

/** Per lane the value in these fields of a block. */
export function fieldsValue(b: KernelBuilder, fields: readonly BitField[], fetch: Fetch): Value<"vi32"> {
  let low = 0;
  const parts = fields.map(({ byte, shift, bits }) => {
    const at = low;
    low += bits;
    const left = at - (8 * (byte & 3) + shift);
    return masked(b, shifted(b, fetch(byte & ~3), left), ((2 ** bits - 1) << at) | 0);
  });
  return parts.reduce((a, c) => b.op.vior(a, c));
}
