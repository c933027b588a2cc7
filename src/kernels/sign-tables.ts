import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { SignWords, Value } from "../ir/types.ts";
import { inputTableBytes, tableBytes } from "../quant/sign-words.ts";
import { TABLE_PART } from "./activations.ts";
import { shifted } from "./work.ts";

/** What the signs of the inputs of a field may be, four inputs a register; inputs past the field count as 0. */
interface FieldPatterns {
  /** For L codes after L codes: twice the bits of the code, a byte each. */
  readonly codes: readonly (readonly Value<"vu8">[])[];
  /** A byte 1 for every input of the field. */
  readonly ones: readonly Value<"vu8">[];
}

/** The patterns of fields, by their number of inputs. */
export type SignPatterns = ReadonlyMap<number, FieldPatterns>;

export function signPatterns(b: KernelBuilder, { fields }: SignWords): SignPatterns {
  return new Map([...new Set(fields)].map((inputs) => [inputs, fieldPatterns(b, inputs)]));
}

function fieldPatterns(b: KernelBuilder, inputs: number): FieldPatterns {
  const { op } = b;
  const fours = Array.from({ length: Math.ceil(inputs / 4) }, (_, n) =>
    [0, 1, 2, 3].map((i) => 4 * n + i).filter((input) => input < inputs),
  );
  const codes = Array.from({ length: Math.ceil(2 ** inputs / b.lanes) }, (_, n) => {
    const code = op.viadd(op.viota(), op.viconst({ value: n * b.lanes }));
    return fours.map((four) => {
      const bytes = four.map((input, i) => {
        const bit = op.viand(code, op.viconst({ value: 1 << input }));
        return shifted(b, bit, 8 * i + 1 - input);
      });
      const both = bytes.reduce((a, c) => op.vior(a, c));
      return b.named(`signs${n}`, op.vbytes(both, { bits: 2 }));
    });
  });
  const ones = fours.map((four) =>
    op.vbytes(op.viconst({ value: four.reduce((word, _, i) => word | (1 << (8 * i)), 0) }), { bits: 1 }),
  );
  return { codes, ones };
}

/**
 * Makes the tables of sums of `length` int8 codes, a multiple of the words' inputs. With bits q for signs,
 * Σ ±x = Σ 2q·x − Σ x.
 */
export function storeTables(
  b: KernelBuilder,
  words: SignWords,
  patterns: SignPatterns,
  codes: Value<"ptr">,
  tables: Value<"ptr">,
  length: Value<"i32">,
): void {
  const { op } = b;
  b.loop("from", 0, length, words.bits, (from) => {
    const x = op.addr(codes, from, { stride: 1, offset: 0 });
    const to = b.named("table", op.addr(tables, from, { stride: inputTableBytes(words), offset: 0 }));
    let [first, offset] = [0, 0];
    for (const inputs of words.fields) {
      const field = patterns.get(inputs);
      assert(field !== undefined, "no patterns of a field");
      const fours = field.ones.map((_, n) => op.vbroadcast4(x, { offset: first + 4 * n }));
      const sum = b.dot(op.viconst({ value: 0 }), field.ones, fours);
      if (words.bits === 8) storeParts(b, field, fours, sum, to, offset);
      else storePairs(b, field, fours, sum, to, offset);
      first += inputs;
      offset += tableBytes(inputs);
    }
  });
}

/** The sums of a field in two parts (`TABLE_PART`). */
function storeParts(
  b: KernelBuilder,
  { codes }: FieldPatterns,
  fours: readonly Value<"vi8">[],
  sum: Value<"vi32">,
  to: Value<"ptr">,
  offset: number,
): void {
  const { op } = b;
  const { bits, bytes } = TABLE_PART;
  // Above 0, so that a shift divides.
  const start = b.named("start", op.visub(op.viconst({ value: 16 << bits }), sum));
  codes.forEach((pattern, n) => {
    const s = b.named(`sums${n}`, b.dot(start, pattern, fours));
    const low = op.viand(s, op.viconst({ value: 2 ** bits - 1 }));
    const high = op.visub(op.vishr(s, { count: bits }), op.viconst({ value: 16 }));
    op.vi8storelanes(to, low, { offset: offset + n * b.lanes });
    op.vi8storelanes(to, high, { offset: offset + bytes + n * b.lanes });
  });
}

/** The sums of a field as i16. */
function storePairs(
  b: KernelBuilder,
  { codes }: FieldPatterns,
  fours: readonly Value<"vi8">[],
  sum: Value<"vi32">,
  to: Value<"ptr">,
  offset: number,
): void {
  const { op } = b;
  const start = b.named("start", op.visub(op.viconst({ value: 0 }), sum));
  codes.forEach((pattern, n) => {
    op.vu16storelanes(to, b.dot(start, pattern, fours), { offset: offset + 2 * n * b.lanes });
  });
}
