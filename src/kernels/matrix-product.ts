import { assert } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { forEachItem } from "./work.ts";

/** Rows and columns of C that are an item of work; matrices have whole tiles of them. */
export const PRODUCT_TILE = 64;

export interface ProductSpec {
  /** C += Aᵀ·B, or C −= Aᵀ·B. */
  readonly sign: "plus" | "minus";
  /** Only the tiles that have something on or above the diagonal of C. */
  readonly upper: boolean;
}

/** Bytes of what the parameter `place` points at. */
export const PLACE_BYTES = 32;

export function productName({ sign, upper }: ProductSpec): string {
  return `product_${sign}${upper ? "_upper" : ""}`;
}

/** Rows of C, and registers of its columns, that are added up in registers: 8 chains, which hide the latency of an fma. */
const MICRO = { rows: 4, vectors: 2 } as const;

/**
 * C [m, n] ± Aᵀ·B of f32 matrices A [depth, m] and B [depth, n]. Both are read along their rows, so that nothing must be
 * packed: a step takes four values of a row of A, each times two registers of the same row of B. The two registers of a
 * tile's depth stay in the first cache while all rows of the tile pass.
 */
export function matrixProduct(spec: ProductSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const c = b.parameter("c", "ptr", "f32 [m, n]");
  const left = b.parameter("a", "ptr", "f32 [depth, m]");
  const right = b.parameter("b", "ptr", "f32 [depth, n]");
  const strides = {
    c: b.parameter("c_stride", "i32", "bytes from one row of c to the next"),
    a: b.parameter("a_stride", "i32", "bytes from one row of a to the next"),
    b: b.parameter("b_stride", "i32", "bytes from one row of b to the next"),
  };
  const place = b.parameter(
    "place",
    "ptr",
    "i32: row and column of the corners of c, a, b; tiles of m, of n",
  );
  const counts = b.parameter("counts", "ptr", "i32: depth");
  const depth = b.named("depth", op.iload(counts, { offset: 0 }));
  const placed = (at: number) => op.iload(place, { offset: 4 * at });
  const corner = (matrix: "c" | "a" | "b", base: Value<"ptr">, at: number) => {
    const row = op.addrv(base, placed(at), strides[matrix]);
    return b.named(`${matrix}_corner`, op.addr(row, placed(at + 1), { stride: 4, offset: 0 }));
  };
  const corners = { c: corner("c", c, 0), a: corner("a", left, 2), b: corner("b", right, 4) };
  const tileRows = b.named("tile_rows", placed(6));
  const tileCols = b.named("tile_cols", placed(7));
  const width = MICRO.vectors * b.lanes;
  assert(PRODUCT_TILE % width === 0, "registers that do not fill a tile");

  const tile = (row: Value<"i32">, col: Value<"i32">) => {
    b.loop("j", 0, PRODUCT_TILE, width, (j) => {
      const column = b.named("column", op.iadd(op.imul(col, b.i(PRODUCT_TILE)), j));
      const from = b.named("b_column", op.addr(corners.b, column, { stride: 4, offset: 0 }));
      b.loop("i", 0, PRODUCT_TILE, MICRO.rows, (i) => {
        const first = b.named("first_row", op.iadd(op.imul(row, b.i(PRODUCT_TILE)), i));
        const a = b.named("a_column", op.addr(corners.a, first, { stride: 4, offset: 0 }));
        const to = op.addr(op.addrv(corners.c, first, strides.c), column, { stride: 4, offset: 0 });
        microProduct(b, spec, { c: b.named("c_tile", to), a, b: from }, strides, depth);
      });
    });
  };
  forEachItem(b, op.imul(tileRows, tileCols), (item) => {
    const row = b.named("row", op.idiv(item, tileCols));
    const col = b.named("col", op.irem(item, tileCols));
    if (spec.upper) b.if(op.ile(row, col), () => tile(row, col));
    else tile(row, col);
  });
  const sign = spec.sign === "plus" ? "+=" : "-=";
  return b.build(productName(spec), [`c ${sign} a^T * b${spec.upper ? ", on and above the diagonal" : ""}`]);
}

interface Operands<T> {
  readonly c: T;
  readonly a: T;
  readonly b: T;
}

/** Some rows of C, some registers wide, summed over the whole depth. */
function microProduct(
  b: KernelBuilder,
  { sign }: ProductSpec,
  at: Operands<Value<"ptr">>,
  strides: Operands<Value<"i32">>,
  depth: Value<"i32">,
): void {
  const { op } = b;
  const { rows, vectors } = MICRO;
  const sums = Array.from({ length: rows * vectors }, (_, i) =>
    b.variable(`sum${i}`, op.vfconst({ value: 0 })),
  );
  const sumOf = (r: number, v: number) => sums[r * vectors + v] as (typeof sums)[number];
  b.loop("k", 0, depth, 1, (k) => {
    const left = b.named("a_row", op.addrv(at.a, k, strides.a));
    const right = b.named("b_row", op.addrv(at.b, k, strides.b));
    const columns = Array.from({ length: vectors }, (_, v) => op.vfload(right, { offset: 4 * v * b.lanes }));
    for (let r = 0; r < rows; r++) {
      const value = op.vfsplat(op.fload(left, { offset: 4 * r }));
      columns.forEach((column, v) => sumOf(r, v).set(op.vfma(value, column, sumOf(r, v).get())));
    }
  });
  for (let r = 0; r < rows; r++) {
    const row = op.addrv(at.c, b.i(r), strides.c);
    for (let v = 0; v < vectors; v++) {
      const offset = 4 * v * b.lanes;
      const before = op.vfload(row, { offset });
      const sum = sumOf(r, v).get();
      op.vfstore(row, sign === "plus" ? op.vfadd(before, sum) : op.vfsub(before, sum), { offset });
    }
  }
}
