import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { EXPERT_BYTES } from "./route.ts";
import { splitWork } from "./work.ts";

/** Rows of inputs and outputs, and what is added to the latter. */
export interface Rows {
  readonly x: Value<"ptr">;
  /** Row of x of every token, where that is not its number. */
  readonly list?: Value<"ptr">;
  readonly y: Value<"ptr">;
  readonly yStride: Value<"i32">;
  /** Whether results are added to what is in y (a residual connection), 1 or 0. */
  readonly accumulate: Value<"i32">;
  readonly bias: Value<"ptr"> | undefined;
}

/** A matrix, the tokens that it is multiplied with, and where the results go. */
export interface Operands extends Rows {
  readonly weights: Value<"ptr">;
  readonly tokens: Value<"i32">;
}

/** Bytes from one prepared row to the next, and from one row tile of weights. */
interface Strides {
  readonly inputBytes: number;
  readonly tileBytes: number;
}

/** What the experts' projections have in common: the stack, rows of all slots, the list of experts that have any. */
export interface Stack extends Omit<Rows, "list"> {
  readonly weights: Value<"ptr">;
  readonly entries: Value<"ptr">;
  /** Token of every slot, where inputs are rows of tokens. */
  readonly tokens?: Value<"ptr">;
}

/**
 * The tiles of all experts that have slots are one row of work, of which every part gets as many. Calls `body` with the
 * matrix and the slots of every expert in the part, and which of its tiles.
 */
export function eachExpert(
  b: KernelBuilder,
  { inputBytes, tileBytes }: Strides,
  tiles: Value<"i32">,
  count: Value<"i32">,
  { weights, entries, tokens, x, y, yStride, accumulate, bias }: Stack,
  body: (operands: Operands, first: Value<"i32">, last: Value<"i32">) => void,
): void {
  const { op } = b;
  splitWork(b, op.imul(count, tiles), (first, last) => {
    const end = b.named("end", op.idiv(op.iadd(last, op.isub(tiles, b.i(1))), tiles));
    b.loop("n", op.idiv(first, tiles), end, 1, (n) => {
      const entry = b.named("entry", op.addr(entries, n, { stride: EXPERT_BYTES, offset: 0 }));
      const slot = b.named("slot", op.iload(entry, { offset: 4 }));
      const expert = b.named("expert", op.iload(entry, { offset: 0 }));
      const tile = b.named("first_tile", op.imul(expert, tiles));
      const before = op.imul(n, tiles);
      const inputs =
        tokens === undefined
          ? { x: b.named("x_slots", op.addr(x, slot, { stride: inputBytes, offset: 0 })) }
          : { x, list: b.named("x_list", op.addr(tokens, slot, { stride: 4, offset: 0 })) };
      body(
        {
          ...inputs,
          weights: b.named("w", op.addr(weights, tile, { stride: tileBytes, offset: 0 })),
          tokens: b.named("tokens", op.iload(entry, { offset: 8 })),
          y: b.named("y_slots", op.addrv(y, slot, yStride)),
          yStride,
          accumulate,
          bias: bias && b.named("bias_of", op.addrv(bias, expert, yStride)),
        },
        b.named("from", op.imax(op.isub(first, before), b.i(0))),
        b.named("to", op.imin(op.isub(last, before), tiles)),
      );
    });
  });
}
