import { expect } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { matrixProduct, PRODUCT_TILE, type ProductSpec } from "../../src/kernels/matrix-product.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals } from "./rows.ts";

interface Shape {
  /** Tiles of C. */
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly threads?: number;
  readonly spec: ProductSpec;
}

const SHAPES: readonly Shape[] = [
  { rows: 1, cols: 1, depth: 1, spec: { sign: "plus", upper: false } },
  { rows: 1, cols: 2, depth: 7, threads: 3, spec: { sign: "minus", upper: false } },
  { rows: 2, cols: 1, depth: 0, spec: { sign: "plus", upper: false } },
  { rows: 3, cols: 3, depth: 5, threads: 3, spec: { sign: "minus", upper: true } },
  { rows: 2, cols: 2, depth: 33, spec: { sign: "plus", upper: true } },
];

function productWork(isa: Isa, { rows, cols, depth, spec }: Shape): Work {
  const rng = new Rng(rows + cols + depth);
  const [m, n] = [rows * PRODUCT_TILE, cols * PRODUCT_TILE];
  // The product reads and writes from a corner on, and not all of the rows.
  const corner = { c: [1, 2], a: [2, 4], b: [0, 7] } as const;
  const strides = { c: n + 5, a: m + 9, b: n + 8 };
  const [a, b] = [normals(rng, (depth + 2) * strides.a), normals(rng, (depth + 1) * strides.b)];
  const before = normals(rng, (m + 1) * strides.c);
  const c = output("c", before);
  const bytes = (values: number) => 4 * values;
  return {
    steps: [
      {
        kernel: matrixProduct(spec, isa),
        arguments: [
          c,
          input("a", a),
          input("b", b),
          bytes(strides.c),
          bytes(strides.a),
          bytes(strides.b),
          input("place", i32(...corner.c, ...corner.a, ...corner.b, rows, cols)),
          input("counts", i32(depth)),
        ],
      },
    ],
    check: (after) => {
      const actual = floatsOf(after(c));
      for (let row = 0; row <= m; row++) {
        for (let col = 0; col < strides.c; col++) {
          const [i, j] = [row - corner.c[0], col - corner.c[1]];
          const tile = (x: number) => Math.floor(x / PRODUCT_TILE);
          const counts = i >= 0 && j >= 0 && j < n && !(spec.upper && tile(j) < tile(i));
          let product = 0;
          for (let k = 0; counts && k < depth; k++) {
            const left = a[(k + corner.a[0]) * strides.a + i + corner.a[1]]!;
            product += left * b[(k + corner.b[0]) * strides.b + j + corner.b[1]]!;
          }
          const expected = before[row * strides.c + col]! + (spec.sign === "plus" ? product : -product);
          const error = Math.abs(actual[row * strides.c + col]! - expected);
          if (!(error <= 1e-4)) expect.fail(`${i}, ${j}: ${error} off ${expected}`);
        }
      }
    },
  };
}

const caseOf = (isa: Isa, shape: Shape): KernelCase => ({
  name: `${shape.rows} by ${shape.cols} tiles of depth ${shape.depth} ${JSON.stringify(shape.spec)}`,
  threads: shape.threads ?? 1,
  make: () => productWork(isa, shape),
});

describeKernels("matrix product", (isa) => SHAPES.map((shape) => caseOf(isa, shape)));
