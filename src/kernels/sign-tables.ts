import type { KernelBuilder } from "../ir/builder.ts";
import type { SignWords, Value } from "../ir/types.ts";
import { inputTableBytes, tableBytes } from "../quant/sign-words.ts";
import { TABLE_PART } from "./activations.ts";
import { shifted } from "./work.ts";

/** Four bytes of a word's inputs, and which inputs of a field are read there. */
interface Four {
  /** The first of the four, from the word's first input on. */
  readonly at: number;
  /** Inputs of the field, from its first on, and their bytes among the four. */
  readonly inputs: readonly { readonly input: number; readonly byte: number }[];
}

/** What the signs of the inputs of a field may be, four bytes a register; other bytes count as 0. */
export interface FieldPatterns {
  readonly inputs: number;
  readonly fours: readonly Four[];
  /** For L codes after L codes: twice the bits of the code, a byte each. */
  readonly codes: readonly (readonly Value<"vu8">[])[];
  /** A byte 1 for every input of the field. */
  readonly ones: readonly Value<"vu8">[];
}

/** The patterns of the fields of a word. */
export function signPatterns(b: KernelBuilder, { bits, fields }: SignWords): FieldPatterns[] {
  let first = 0;
  return fields.map((inputs) => {
    const patterns = fieldPatterns(b, inputs, foursOf(first, inputs, bits));
    first += inputs;
    return patterns;
  });
}

/** No four go beyond the word: one that is stored together is read sooner than parts of two. */
function foursOf(first: number, inputs: number, bits: number): Four[] {
  return Array.from({ length: Math.ceil(inputs / 4) }, (_, n) => {
    const at = Math.min(first + 4 * n, bits - 4);
    const own = [0, 1, 2, 3].map((i) => 4 * n + i).filter((input) => input < inputs);
    return { at, inputs: own.map((input) => ({ input, byte: first + input - at })) };
  });
}

function fieldPatterns(b: KernelBuilder, inputs: number, fours: readonly Four[]): FieldPatterns {
  const { op } = b;
  const codes = Array.from({ length: Math.ceil(2 ** inputs / b.lanes) }, (_, n) => {
    const code = op.viadd(op.viota(), op.viconst({ value: n * b.lanes }));
    return fours.map((four) => {
      const bytes = four.inputs.map(({ input, byte }) => {
        const bit = op.viand(code, op.viconst({ value: 1 << input }));
        return shifted(b, bit, 8 * byte + 1 - input);
      });
      const both = bytes.reduce((a, c) => op.vior(a, c));
      return b.named(`signs${n}`, op.vbytes(both, { bits: 2 }));
    });
  });
  const ones = fours.map((four) => {
    const value = four.inputs.reduce((word, { byte }) => word | (1 << (8 * byte)), 0);
    return op.vbytes(op.viconst({ value }), { bits: 1 });
  });
  return { inputs, fours, codes, ones };
}

/**
 * Makes the tables of sums of `length` int8 codes, a multiple of the words' inputs. With bits q for signs,
 * Σ ±x = Σ 2q·x − Σ x.
 */
export function storeTables(
  b: KernelBuilder,
  words: SignWords,
  patterns: readonly FieldPatterns[],
  codes: Value<"ptr">,
  tables: Value<"ptr">,
  length: Value<"i32">,
): void {
  const { op } = b;
  b.loop("from", 0, length, words.bits, (from) => {
    const x = op.addr(codes, from, { stride: 1, offset: 0 });
    const to = b.named("table", op.addr(tables, from, { stride: inputTableBytes(words), offset: 0 }));
    let offset = 0;
    for (const field of patterns) {
      const fours = field.fours.map(({ at }) => op.vbroadcast4(x, { offset: at }));
      const sum = b.dot(op.viconst({ value: 0 }), field.ones, fours);
      // Parts are of a sum above 0, so that a shift divides.
      const above = words.bits === 8 ? 16 << TABLE_PART.bits : 0;
      const start = b.named("start", op.visub(op.viconst({ value: above }), sum));
      field.codes.forEach((pattern, n) => {
        const s = b.dot(start, pattern, fours);
        if (words.bits === 8) storeParts(b, b.named(`sums${n}`, s), to, offset + n * b.lanes);
        else op.vu16storelanes(to, s, { offset: offset + 2 * n * b.lanes });
      });
      offset += tableBytes(field.inputs);
    }
  });
}

/** Sums of a field, and 16 · 32, in two parts (`TABLE_PART`). */
function storeParts(b: KernelBuilder, sums: Value<"vi32">, to: Value<"ptr">, offset: number): void {
  const { op } = b;
  const { bits, bytes } = TABLE_PART;
  const low = op.viand(sums, op.viconst({ value: 2 ** bits - 1 }));
  const high = op.visub(op.vishr(sums, { count: bits }), op.viconst({ value: 16 }));
  op.vi8storelanes(to, low, { offset });
  op.vi8storelanes(to, high, { offset: offset + bytes });
}
