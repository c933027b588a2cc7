import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allocate, type Option } from "../../src/solver/allocation.ts";

type Modules = readonly (readonly Option[])[];

/** Every combination of options. */
function combinations(modules: Modules): number[][] {
  return modules.reduce<number[][]>(
    (all, options) => all.flatMap((one) => options.map((_, o) => [...one, o])),
    [[]],
  );
}

function totals(modules: Modules, choice: readonly number[]): { bytes: number; loss: number } {
  const taken = modules.map((options, m) => options[choice[m] as number] as Option);
  return {
    bytes: taken.reduce((sum, { bytes }) => sum + bytes, 0),
    loss: taken.reduce((sum, { loss }) => sum + loss, 0),
  };
}

const option = fc.record({
  bytes: fc.integer({ min: 1, max: 5000 }),
  loss: fc.double({ min: 0, max: 10, noNaN: true }),
});
const modules = fc.array(fc.array(option, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 });

describe("allocation under a budget", () => {
  test("is the best of all combinations that fit", () => {
    fc.assert(
      fc.property(modules, fc.double({ min: 0, max: 1.2, noNaN: true }), (all, share) => {
        const sums = combinations(all).map((choice) => totals(all, choice));
        const least = Math.min(...sums.map(({ bytes }) => bytes));
        const most = Math.max(...sums.map(({ bytes }) => bytes));
        const budget = Math.floor(least + share * (most - least));
        const found = totals(all, allocate(all, budget));
        expect(found.bytes).toBeLessThanOrEqual(budget);
        const best = Math.min(...sums.filter(({ bytes }) => bytes <= budget).map(({ loss }) => loss));
        expect(found.loss).toBeCloseTo(best, 9);
      }),
    );
  });

  test("with more bytes than steps, wastes at most a step per module", () => {
    const large = Array.from({ length: 200 }, (_, m) =>
      [2, 3, 4, 8].map((bits) => ({ bytes: bits * 1_400_003, loss: (1 + (m % 7)) * 4 ** -bits })),
    );
    const budget = 3.3 * 1_400_003 * 200;
    const { bytes, loss } = totals(large, allocate(large, budget));
    expect(bytes).toBeLessThanOrEqual(budget);
    // No module can go up by the bytes that are left, but for what rounding up takes of each.
    expect(budget - bytes).toBeLessThan(1_400_003 + 200 * (budget / 65536));
    const uniform = totals(
      large,
      large.map(() => 1),
    );
    expect(loss).toBeLessThan(uniform.loss);
  });

  test("a budget below the smallest is an error that says how much is needed", () => {
    expect(() => allocate([[{ bytes: 10, loss: 1 }], [{ bytes: 7, loss: 1 }]], 16)).toThrow(/take 17/);
  });

  test("no modules, no choice", () => {
    expect(allocate([], 0)).toEqual([]);
  });
});
