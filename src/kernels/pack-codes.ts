import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import type { BitField } from "../quant/blocks.ts";
import { quads } from "../quant/chunks.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
import { shifted } from "./work.ts";

/** Per lane the 4 bytes at an offset from a place in the lane's row. */
export type Fetch = (offset: number) => Value<"vi32">;

/** Bits `shift` … `shift + bits − 1` of a packed byte, and the bits of a block that they come from. */
interface Atom {
  readonly shift: number;
  readonly bits: number;
  readonly source: BitField;
}

/**
 * Per lane the words of a chunk as packed. `code` says where the codes of its 32 inputs are stored, `fetch` reads words of
 * a block.
 */
export function packedWords(
  b: KernelBuilder,
  format: QuantizedFormat,
  code: (input: number) => readonly BitField[],
  fetch: Fetch,
): Value<"vi32">[] {
  const { op } = b;
  const known = new Map<number, Value<"vi32">>();
  const wordAt = (byte: number) => {
    const word = known.get(byte) ?? fetch(byte);
    known.set(byte, word);
    return word;
  };
  return Array.from({ length: format.bits }, (_, word) => {
    const columns = [0, 1, 2, 3].map((i) => atomsOf(format.bits, word, i, code));
    const parts = joinable(columns) ? columnsTogether(b, columns, wordAt) : byteByByte(b, columns, wordAt);
    return parts.reduce((low, high) => op.vior(low, high));
  });
}

/** What byte `i` of a packed word is made of. */
function atomsOf(
  bits: number,
  word: number,
  i: number,
  code: (input: number) => readonly BitField[],
): Atom[] {
  return quads(bits).flatMap((quad, q) => {
    if (quad.kind === "together") {
      return quad.word === word ? bitsOf(code(4 * q + i), 0, bits, quad.shift) : [];
    }
    return bitsOf(code(4 * q + i), word, 1, quad.slot + quad.spare);
  });
}

/** Bits `first` … `first + count − 1` of a value in these fields, to stand from bit `shift` on. */
function bitsOf(fields: readonly BitField[], first: number, count: number, shift: number): Atom[] {
  let low = 0;
  return fields.flatMap((field) => {
    const [from, to] = [Math.max(first, low), Math.min(first + count, low + field.bits)];
    const skipped = from - low;
    low += field.bits;
    if (from >= to) return [];
    const source = { byte: field.byte, shift: field.shift + skipped, bits: to - from };
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
          source.byte === other.source.byte + i &&
          source.shift === other.source.shift &&
          shift === other.shift
        );
      }),
  );
}

/** Atoms of one word that are moved by the same distance are masked together. */
function columnsTogether(b: KernelBuilder, [atoms = []]: readonly Atom[][], wordAt: Fetch): Value<"vi32">[] {
  const masks = new Map<string, { byte: number; left: number; mask: number }>();
  for (const { shift, bits, source } of atoms) {
    const left = shift - source.shift;
    const key = `${source.byte} ${left}`;
    const mask = ((2 ** bits - 1) << shift) | (masks.get(key)?.mask ?? 0);
    masks.set(key, { byte: source.byte, left, mask });
  }
  return [...masks.values()].map(({ byte, left, mask }) =>
    masked(b, shifted(b, wordAt(byte), left), (mask * 0x01010101) | 0),
  );
}

function byteByByte(b: KernelBuilder, columns: readonly Atom[][], wordAt: Fetch): Value<"vi32">[] {
  return columns.flatMap((atoms, i) =>
    atoms.map(({ shift, bits, source }) => {
      const word = wordAt(source.byte & ~3);
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
    return masked(b, shifted(b, fetch(byte), at - shift), ((2 ** bits - 1) << at) | 0);
  });
  return parts.reduce((a, c) => b.op.vior(a, c));
}
