import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import type { BitField } from "../quant/blocks.ts";
import { quads } from "../quant/chunks.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
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

/** Per lane the words of a chunk as packed. `code` says where the codes of its 32 inputs are stored. */
export function packedWords(
  b: KernelBuilder,
  format: QuantizedFormat,
  code: (input: number) => readonly SourceField[],
): Value<"vi32">[] {
  const { op } = b;
  return Array.from({ length: format.bits }, (_, word) => {
    const columns = [0, 1, 2, 3].map((i) => atomsOf(format.bits, word, i, code));
    const parts = joinable(columns) ? columnsTogether(b, columns) : byteByByte(b, columns);
    return parts.reduce((low, high) => op.vior(low, high));
  });
}

/** What byte `i` of a packed word is made of. */
function atomsOf(
  bits: number,
  word: number,
  i: number,
  code: (input: number) => readonly SourceField[],
): Atom[] {
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

/** Atoms of one word that are moved by the same distance are masked together. */
function columnsTogether(b: KernelBuilder, [atoms = []]: readonly Atom[][]): Value<"vi32">[] {
  const moves: { fetch: Fetch; byte: number; left: number; mask: number }[] = [];
  for (const { shift, bits, source } of atoms) {
    const { fetch, byte } = source;
    const left = shift - source.shift;
    const mask = (2 ** bits - 1) << shift;
    const same = moves.find((move) => move.fetch === fetch && move.byte === byte && move.left === left);
    if (same === undefined) moves.push({ fetch, byte, left, mask });
    else same.mask |= mask;
  }
  return moves.map(({ fetch, byte, left, mask }) =>
    masked(b, shifted(b, fetch(byte), left), (mask * 0x01010101) | 0),
  );
}

function byteByByte(b: KernelBuilder, columns: readonly Atom[][]): Value<"vi32">[] {
  return columns.flatMap((atoms, i) =>
    atoms.map(({ shift, bits, source }) => {
      const word = source.fetch(source.byte & ~3);
      const left = 8 * i + shift - (8 * (source.byte & 3) + source.shift);
      return masked(b, shifted(b, word, left), ((2 ** bits - 1) << (8 * i + shift)) | 0);
    }),
  );
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
