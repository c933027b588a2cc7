import { assert } from "../base/assert.ts";
import { MachineError } from "../base/errors.ts";
import type { Backend, Region } from "../engine/backend.ts";
import type { Isa } from "../isa/isa.ts";
import { matrixProduct, PRODUCT_TILE, type ProductSpec, productName } from "../kernels/matrix-product.ts";
import type { KernelRecipe } from "../kernels/recipe.ts";
import { stepParts } from "../plan/parts.ts";
import { type Corner, type Matrix, type MatrixSpace, padded, TILE } from "../solver/matrix.ts";

/** The most bytes of a region that are seen at once. */
const LARGEST_VIEW = 2 ** 30;

const SPECS: readonly ProductSpec[] = [
  { sign: "plus", upper: true },
  { sign: "minus", upper: true },
  { sign: "minus", upper: false },
];

/** The kernels that a `BackendSpace` needs. */
export function productKernels(isa: Isa): KernelRecipe[] {
  return SPECS.map((spec) => ({
    name: productName(spec),
    spec,
    generate: () => matrixProduct(spec, isa),
  }));
}

interface BackendMatrix extends Matrix {
  readonly region: Region;
}

/** Matrices in the memory of a backend, whose kernels and threads compute the products. */
export class BackendSpace implements MatrixSpace {
  private readonly counts: Region;

  constructor(
    private readonly backend: Backend,
    private readonly signal: AbortSignal | undefined,
  ) {
    assert(TILE === PRODUCT_TILE, "matrices are padded to the tiles of the kernel");
    this.counts = backend.allocate(64, "plain");
  }

  /** Throws `MachineError` for matrices above 1 GiB, and where there is no memory. */
  allocate(rows: number, cols: number): BackendMatrix {
    const stride = padded(cols);
    const bytes = 4 * padded(rows) * stride;
    if (bytes > LARGEST_VIEW) {
      throw new MachineError(
        `a matrix of ${rows} × ${cols} values is above 1 GiB: quantize this model with rtn`,
      );
    }
    const region = this.backend.allocate(bytes, "working");
    const view = region.view(0, bytes);
    const values = new Float32Array(view.buffer, view.byteOffset, bytes / 4);
    return { rows, cols, stride, values, region };
  }

  release(matrix: Matrix): void {
    this.backend.release((matrix as BackendMatrix).region);
  }

  /** Gives back what it keeps for itself. */
  dispose(): void {
    this.backend.release(this.counts);
  }

  async subtractProduct(
    c: Corner,
    a: Corner,
    b: Corner,
    depth: number,
    { upper = false, width = Number.POSITIVE_INFINITY }: { upper?: boolean; width?: number } = {},
  ): Promise<void> {
    const count = this.counts.view(0, 4);
    new DataView(count.buffer, count.byteOffset).setInt32(0, depth, true);
    const rows = padded(a.matrix.cols - a.col);
    const cols = Math.min(width, padded(b.matrix.cols - b.col));
    const program = this.backend.prepare([
      {
        kernel: productName({ sign: "minus", upper }),
        arguments: [
          ...[c, a, b].map(addressOf),
          ...[c, a, b].map(({ matrix }) => 4 * matrix.stride),
          rows / TILE,
          cols / TILE,
          this.counts.address,
        ],
        barrier: true,
        parts: productParts(rows, cols, this.backend.threads),
      },
    ]);
    try {
      await this.backend.run(program, this.signal);
    } finally {
      this.backend.discard(program);
    }
  }
}

/** Address of the first value of a matrix. */
export function addressOf({ matrix, row, col }: Corner): number {
  return (matrix as BackendMatrix).region.address + 4 * (row * matrix.stride + col);
}

/** Parts that a product is split into: tiles above a diagonal take no time, so that there must be many. */
export function productParts(rows: number, cols: number, threads: number): number {
  return Math.min((rows / TILE) * (cols / TILE), 4 * stepParts(threads));
}
