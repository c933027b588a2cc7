import { assert } from "../base/assert.ts";
import { MachineError } from "../base/errors.ts";
import type { Backend, Program, Region } from "../engine/backend.ts";
import type { Isa } from "../isa/isa.ts";
import {
  matrixProduct,
  PLACE_BYTES,
  PRODUCT_TILE,
  type ProductSpec,
  productName,
} from "../kernels/matrix-product.ts";
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
  /** Depth and place of the product that runs. */
  private readonly counts: Region;
  private readonly place: Region;
  /** Tables stay with the backend, whose threads may look at them after a run: of equal products there is one. */
  private readonly programs = new Map<string, Program>();

  constructor(
    private readonly backend: Backend,
    private readonly signal: AbortSignal | undefined,
  ) {
    assert(TILE === PRODUCT_TILE, "matrices are padded to the tiles of the kernel");
    this.counts = backend.allocate(PLACE_BYTES, "plain");
    this.place = backend.allocate(PLACE_BYTES, "plain");
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

  async subtractProduct(
    c: Corner,
    a: Corner,
    b: Corner,
    depth: number,
    { upper = false, width = Number.POSITIVE_INFINITY }: { upper?: boolean; width?: number } = {},
  ): Promise<void> {
    const rows = padded(a.matrix.cols - a.col);
    const cols = Math.min(width, padded(b.matrix.cols - b.col));
    writeIntegers(this.counts, [depth]);
    const corners = [c, a, b].flatMap(({ row, col }) => [row, col]);
    writeIntegers(this.place, [...corners, rows / TILE, cols / TILE]);
    await this.backend.run(this.programOf([c.matrix, a.matrix, b.matrix], upper), this.signal);
  }

  private programOf(matrices: readonly Matrix[], upper: boolean): Program {
    const addresses = matrices.map(addressOf);
    const strides = matrices.map(({ stride }) => 4 * stride);
    const key = JSON.stringify([upper, addresses, strides]);
    const known = this.programs.get(key);
    if (known !== undefined) return known;
    const [{ rows, cols }] = matrices as [Matrix];
    const program = this.backend.prepare([
      {
        kernel: productName({ sign: "minus", upper }),
        arguments: [...addresses, ...strides, this.place.address, this.counts.address],
        barrier: true,
        parts: productParts(padded(rows), padded(cols), this.backend.threads),
      },
    ]);
    this.programs.set(key, program);
    return program;
  }
}

/** Address of the first value of a matrix. */
export function addressOf(matrix: Matrix): number {
  return (matrix as BackendMatrix).region.address;
}

export function writeIntegers(region: Region, values: readonly number[]): void {
  const view = region.view(0, 4 * values.length);
  new Int32Array(view.buffer, view.byteOffset, values.length).set(values);
}

/** Parts that a product is split into: tiles above a diagonal take no time, so that there must be many. */
export function productParts(rows: number, cols: number, threads: number): number {
  return Math.min((rows / TILE) * (cols / TILE), 4 * stepParts(threads));
}
