import type { Backend, Region, Step } from "../engine/backend.ts";
import type { Observer } from "../engine/step-list.ts";
import { paddedCols } from "../kernels/activations.ts";
import { PLACE_BYTES, productName } from "../kernels/matrix-product.ts";
import type { Linear } from "../models/model.ts";
import { type Matrix, type MatrixSpace, padded, TILE } from "../solver/matrix.ts";
import { addressOf, productParts, writeIntegers } from "./backend-space.ts";

/** Matrices that multiply the same inputs, and Σ x xᵀ of these: on and above the diagonal. */
export interface InputGroup {
  /** The tensors that they are (rows of). */
  readonly tensors: readonly string[];
  readonly hessian: Matrix;
  /** Where the kernel is told the place of the products. */
  readonly place: Region;
}

/** Adds up the Hessians of the matrices of a layer, as steps of its own program. */
export class Hessians {
  private readonly byKey = new Map<string, InputGroup>();

  constructor(
    private readonly space: MatrixSpace,
    private readonly backend: Backend,
    /** The tensors that are wanted. */
    private readonly wanted: ReadonlySet<string>,
  ) {}

  /** What was observed, in the order in which a layer uses it. */
  get groups(): readonly InputGroup[] {
    return [...this.byKey.values()];
  }

  readonly observer: Observer = (linears, input, counts) => {
    const tensors = [...new Set(linears.map(({ tensor }) => tensor))].filter((name) => this.wanted.has(name));
    if (tensors.length === 0) return [];
    const { cols } = linears[0] as Linear;
    const key = tensors.join();
    let group = this.byKey.get(key);
    if (group === undefined) {
      const tiles = padded(cols) / TILE;
      const place = this.backend.allocate(PLACE_BYTES, "plain");
      writeIntegers(place, [0, 0, 0, 0, 0, 0, tiles, tiles]);
      group = { tensors, hessian: this.space.allocate(cols, cols), place };
      this.byKey.set(key, group);
    }
    return [this.step(group, cols, input, counts)];
  };

  private step({ hessian, place }: InputGroup, cols: number, input: number, counts: number): Step {
    const stride = 4 * paddedCols(cols);
    return {
      kernel: productName({ sign: "plus", upper: true }),
      arguments: [
        addressOf(hessian),
        input,
        input,
        4 * hessian.stride,
        stride,
        stride,
        place.address,
        counts,
      ],
      barrier: false,
      parts: productParts(padded(cols), padded(cols), this.backend.threads),
    };
  }

  release(): void {
    for (const { hessian, place } of this.byKey.values()) {
      this.space.release(hessian);
      this.backend.release(place);
    }
    this.byKey.clear();
  }
}
