import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { TABLE_BYTES, TABLE_PART } from "./activations.ts";

/** What four signs may be, for the 16 codes of a table, L a register: twice the bits of the code, a byte each. */
export type SignPatterns = readonly Value<"vu8">[];

export function signPatterns(b: KernelBuilder): SignPatterns {
  const { op } = b;
  return Array.from({ length: Math.ceil(16 / b.lanes) }, (_, n) => {
    const code = op.viadd(op.viota(), op.viconst({ value: n * b.lanes }));
    const bytes = [0, 1, 2, 3].map((i) => {
      const bit = op.viand(code, op.viconst({ value: 1 << i }));
      return op.vishl(bit, { count: 7 * i + 1 });
    });
    return b.named(
      `signs${n}`,
      op.vbytes(
        bytes.reduce((a, c) => op.vior(a, c)),
        { bits: 2 },
      ),
    );
  });
}

/**
 * Makes the tables of sums (`TABLE_BYTES`) of `length` int8 codes, a multiple of four. With bits q for signs,
 * Σ ±x = Σ 2q·x − Σ x.
 */
export function storeTables(
  b: KernelBuilder,
  signs: SignPatterns,
  codes: Value<"ptr">,
  tables: Value<"ptr">,
  length: Value<"i32">,
): void {
  const { op } = b;
  const { bits, bytes } = TABLE_PART;
  const one = op.vbytes(op.viconst({ value: 0x01010101 }), { bits: 1 });
  b.loop("from", 0, length, 4, (from) => {
    const four = op.vbroadcast4(op.addr(codes, from, { stride: 1, offset: 0 }), { offset: 0 });
    const to = b.named("table", op.addr(tables, from, { stride: TABLE_BYTES / 4, offset: 0 }));
    const sum = b.dot(op.viconst({ value: 0 }), [one], [four]);
    // Above 0, so that a shift divides.
    const start = b.named("start", op.visub(op.viconst({ value: 16 << bits }), sum));
    signs.forEach((pattern, n) => {
      const s = b.named(`sums${n}`, b.dot(start, [pattern], [four]));
      const low = op.viand(s, op.viconst({ value: 2 ** bits - 1 }));
      const high = op.visub(op.vishr(s, { count: bits }), op.viconst({ value: 16 }));
      op.vi8storelanes(to, low, { offset: n * b.lanes });
      op.vi8storelanes(to, high, { offset: bytes + n * b.lanes });
    });
  });
}
