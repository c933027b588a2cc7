import { beforeEach, describe, expect, test } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import { familyFormat, formatNamed, type QuantizedFormat } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import { type Ordering, orderColumns } from "../../src/solver/column-order.ts";
import { factorHessian, solve } from "../../src/solver/gptq.ts";
import { inverseFactor } from "../../src/solver/inverse-factor.ts";
import { QuantizedMatrix } from "../../src/solver/quantized-matrix.ts";
import { invert, naiveGptq } from "./naive-gptq.ts";
import { matrixOf, PLAIN_SPACE } from "./plain-space.ts";

let rng = new Rng(5);

beforeEach(() => {
  rng = new Rng(5);
});

/** Σ x xᵀ of correlated inputs, some larger than others. */
function randomHessian(cols: number, samples = 3 * cols): Float64Array {
  const mix = Float64Array.from({ length: cols * cols }, () => rng.normal() / Math.sqrt(cols));
  const sizes = Float64Array.from({ length: cols }, () => Math.exp(rng.normal()));
  const h = new Float64Array(cols * cols);
  for (let s = 0; s < samples; s++) {
    const z = Float64Array.from({ length: cols }, () => rng.normal());
    const x = sizes.map((size, i) => {
      let value = 0.5 * z[i]!;
      for (let j = 0; j < cols; j++) value += mix[i * cols + j]! * z[j]!;
      return size * value;
    });
    for (let i = 0; i < cols; i++) for (let j = 0; j < cols; j++) h[i * cols + j]! += x[i]! * x[j]!;
  }
  return h;
}

const randomWeights = (count: number) => Float32Array.from({ length: count }, () => rng.normal() * 0.05);

function quadratic(errors: Float64Array, h: Float64Array, rows: number, cols: number): number {
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < cols; i++) {
      for (let j = 0; j < cols; j++) {
        sum += errors[r * cols + i]! * h[i * cols + j]! * errors[r * cols + j]!;
      }
    }
  }
  return sum;
}

test.each([1, 5, 63, 64, 65, 200])("the factor of an inverse of %i rows", async (n) => {
  const h = randomHessian(n);
  for (let i = 0; i < n; i++) h[i * n + i]! += 0.5 * n;
  const u = await inverseFactor(matrixOf(n, n, h), PLAIN_SPACE);
  if (u === undefined) throw new Error("not positive definite");
  const inverse = invert(h, n);
  const size = Math.max(...inverse.map(Math.abs));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += u.values[k * u.stride + i]! * u.values[k * u.stride + j]!;
      expect(Math.abs(sum - inverse[i * n + j]!)).toBeLessThan(1e-4 * size);
      if (j < i) expect(u.values[i * u.stride + j]).toBe(0);
    }
  }
});

test("a matrix that is not positive definite has no factor", async () => {
  expect(await inverseFactor(matrixOf(2, 2, [1, 2, 2, 1]), PLAIN_SPACE)).toBeUndefined();
  expect(await inverseFactor(matrixOf(2, 2, [1, 0, 0, Number.NaN]), PLAIN_SPACE)).toBeUndefined();
});

const FORMATS: readonly QuantizedFormat[] = [
  familyFormat(4, 16, false),
  familyFormat(4, 32, true),
  familyFormat(3, 64, false),
  familyFormat(2, "row", false),
  familyFormat(8, 128, true),
  ...["Q4_0", "Q4_1", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "Q2_K", "Q3_K"].map(
    (name) => formatNamed(name) as QuantizedFormat,
  ),
];

describe("the order of columns", () => {
  const diagonal = Float32Array.of(3, 9, 1, 4, 8, 2, 5, 7);
  const format = { ...familyFormat(4, 32, true), group: 2 };
  const orderBy = (ordering: Ordering) => {
    const { inputs, slots, order } = orderColumns(diagonal, format, ordering);
    return [inputs, slots, order].map((list) => list && [...list]);
  };

  test("none", () => {
    const plain = [0, 1, 2, 3, 4, 5, 6, 7];
    expect(orderBy("inputs")).toEqual([plain, plain, undefined]);
  });

  test("the largest first, in groups as they come", () => {
    const sorted = [1, 4, 7, 6, 3, 0, 5, 2];
    expect(orderBy("activations")).toEqual([sorted, [0, 1, 2, 3, 4, 5, 6, 7], sorted]);
  });

  test("the group with the largest first, its columns as they come", () => {
    const inputs = [0, 1, 6, 7, 4, 5, 2, 3];
    expect(orderBy("groups")).toEqual([inputs, inputs, undefined]);
  });

  test("the largest first in a group of all", () => {
    const { inputs, slots, order } = orderColumns(diagonal, familyFormat(4, "row", true), "groups");
    const sorted = [1, 4, 7, 6, 3, 0, 5, 2];
    expect([[...inputs], [...slots], order]).toEqual([sorted, sorted, undefined]);
  });

  test("groups stay as they come where none is much larger", () => {
    const { inputs } = orderColumns(Float32Array.of(3, 4, 4, 5, 3, 3), format, "groups");
    expect([...inputs]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("a shorter group stays last", () => {
    const { inputs } = orderColumns(Float32Array.of(1, 2, 3, 4, 9), format, "groups");
    expect([...inputs]).toEqual([2, 3, 0, 1, 4]);
  });
});

const ORDERINGS: readonly Ordering[] = ["inputs", "activations", "groups"];
/** Blocks of 256 take a while: all orders of one such format. */
const isLong = ({ block }: QuantizedFormat) => block !== undefined && block > 32;
const ordersOf = (format: QuantizedFormat) =>
  !isLong(format) || format.name === "Q4_K" ? ORDERINGS : (["groups"] as const);
const CASES = FORMATS.flatMap((format) =>
  ordersOf(format).map((order) => [format.name, order, format] as const),
);

describe("the solver", () => {
  test.each(CASES)("%s by %s is the algorithm as it is written down", async (_, order, format) => {
    const [rows, cols] = [3, isLong(format) ? 512 : 160];
    const weights = randomWeights(rows * cols);
    const plain = randomHessian(cols);
    const damp = 0.01;
    const options = { format, damp, order } as const;
    const hessian = await factorHessian(matrixOf(cols, cols, plain), options, PLAIN_SPACE);
    const solution = await solve(weights, rows, hessian, options, PLAIN_SPACE);

    const damped = Float64Array.from(plain);
    let mean = 0;
    for (let i = 0; i < cols; i++) mean += plain[i * cols + i]! / cols;
    for (let i = 0; i < cols; i++) damped[i * cols + i]! += damp * mean;
    const { inputs, slots } = hessian.columns;
    const naive = new QuantizedMatrix(format, rows, cols);
    const slotOf = new Map(Array.from(inputs, (input, p) => [input, slots[p]!]));
    const inputOf = new Map(Array.from(inputs, (input, p) => [slots[p]!, input]));
    const top = 2 ** format.bits - 1;
    const codes = new Uint8Array(rows * cols);
    const { quantized, seen } = naiveGptq({
      rows,
      cols,
      weights,
      hessian: damped,
      order: inputs,
      before(p, left) {
        if (p % naive.block !== 0) return;
        const block = Math.floor(slots[p]! / naive.block);
        const length = Math.min(naive.block, cols - p);
        for (let r = 0; r < rows; r++) {
          const inputsOf = Array.from({ length }, (_, i) => inputOf.get(block * naive.block + i)!);
          const values = Float32Array.from(inputsOf, (input) => left[r * cols + input]!);
          naive.fit(r, block, values);
        }
      },
      round(r, c, weight) {
        const slot = slotOf.get(c)!;
        const g = r * naive.groups + Math.floor(slot / naive.group);
        const [scale, zero, minimum] = [naive.scales[g]!, naive.zeros[g]!, naive.minima[g]!];
        const steps = scale === 0 ? zero : Math.round((weight - minimum) / scale + zero);
        codes[r * cols + slot] = Math.max(0, Math.min(top, steps));
        return scale * (codes[r * cols + slot]! - zero) + minimum;
      },
    });

    // A weight in the middle of two values may fall to either by rounding; from then on that row is another problem.
    let same = 0;
    for (let r = 0; r < rows; r++) {
      const wrong = inputs.findIndex(
        (input) =>
          solution.matrix.codes[r * cols + slotOf.get(input)!] !== codes[r * cols + slotOf.get(input)!],
      );
      if (wrong < 0) {
        same++;
        continue;
      }
      const c = inputs[wrong]!;
      const g = r * naive.groups + Math.floor(slotOf.get(c)! / naive.group);
      const steps = (seen[r * cols + c]! - naive.minima[g]!) / naive.scales[g]! + 0.5;
      expect(Math.abs(steps - Math.round(steps))).toBeLessThan(2e-3);
    }
    expect(same).toBeGreaterThan(0);
    const errors = Float64Array.from(weights, (weight, i) => weight - quantized[i]!);
    const wanted = quadratic(errors, damped, rows, cols);
    expect(Math.abs(solution.error - wanted)).toBeLessThan(0.05 * wanted);
    if (same === rows) expect(Math.abs(solution.error - wanted)).toBeLessThan(1e-3 * wanted);
  });

  test("loses less than rounding to nearest", async () => {
    const [rows, cols] = [8, 256];
    for (const format of [
      familyFormat(4, 64, true),
      familyFormat(3, 64, false),
      familyFormat(2, 64, false),
    ]) {
      const weights = randomWeights(rows * cols);
      const plain = randomHessian(cols);
      const options = { format, damp: 0.01, order: "inputs" } as const;
      const hessian = await factorHessian(matrixOf(cols, cols, plain), options, PLAIN_SPACE);
      const { matrix } = await solve(weights, rows, hessian, options, PLAIN_SPACE);
      const nearest = new QuantizedMatrix(format, rows, cols);
      for (let r = 0; r < rows; r++) {
        for (let b = 0; b < cols / 64; b++) {
          nearest.fit(r, b, weights.subarray(r * cols + 64 * b, r * cols + 64 * (b + 1)));
        }
        for (let i = 0; i < cols; i++) nearest.round(r, i, weights[r * cols + i]!);
      }
      const lossOf = (quantized: QuantizedMatrix) => {
        const row = new Float32Array(cols);
        const errors = new Float64Array(rows * cols);
        for (let r = 0; r < rows; r++) {
          quantized.values(r, row);
          row.forEach((value, i) => {
            errors[r * cols + i] = weights[r * cols + i]! - value;
          });
        }
        return quadratic(errors, plain, rows, cols);
      };
      expect(lossOf(matrix)).toBeLessThan(0.9 * lossOf(nearest));
    }
  });

  test("inputs that are always 0 count for nothing", async () => {
    const [rows, cols] = [2, 64];
    const plain = randomHessian(cols);
    for (let i = 0; i < cols; i++) {
      plain[i * cols + 7] = 0;
      plain[7 * cols + i] = 0;
    }
    const options = { format: familyFormat(4, 32, true), damp: 0.01, order: "inputs" } as const;
    const hessian = await factorHessian(matrixOf(cols, cols, plain), options, PLAIN_SPACE);
    const { matrix } = await solve(randomWeights(rows * cols), rows, hessian, options, PLAIN_SPACE);
    const row = new Float32Array(cols);
    matrix.values(0, row);
    expect(row[7]).toBe(0);
  });

  test("inputs that are not finite are refused", async () => {
    const options = { format: familyFormat(4, 32, true), damp: 0.01, order: "inputs" } as const;
    const hessian = matrixOf(2, 2, [Number.NaN, 0, 0, 1]);
    await expect(factorHessian(hessian, options, PLAIN_SPACE)).rejects.toThrow("not finite");
  });
});

describe.each(FORMATS.map((format) => [format.name, format] as const))("%s", (_, format) => {
  test("is stored as what it stands for", () => {
    const [rows, cols] = [4, isLong(format) ? 512 : 160];
    const weights = randomWeights(rows * cols);
    weights.fill(0, 0, cols);
    const matrix = new QuantizedMatrix(format, rows, cols);
    for (let r = 0; r < rows; r++) {
      for (let b = 0; b * matrix.block < cols; b++) {
        const end = Math.min(cols, (b + 1) * matrix.block);
        matrix.fit(r, b, weights.subarray(r * cols + b * matrix.block, r * cols + end));
      }
      for (let i = 0; i < cols; i++) matrix.round(r, i, weights[r * cols + i]!);
    }
    const stored = dequantizeRows(format, matrix.encode(0, rows), rows, cols);
    const row = new Float32Array(cols);
    for (let r = 0; r < rows; r++) {
      matrix.values(r, row);
      // Two zeros are one value.
      expect(stored.subarray(r * cols, (r + 1) * cols).every((value, i) => value === row[i])).toBe(true);
    }
    let [error, size] = [0, 0];
    weights.forEach((weight, i) => {
      error += (weight - stored[i]!) ** 2;
      size += weight ** 2;
    });
    expect(error / size).toBeLessThan(
      { 2: 0.15, 3: 0.05, 4: 0.012, 5: 0.003, 6: 0.001, 8: 1e-4 }[format.bits]!,
    );
  });
});
