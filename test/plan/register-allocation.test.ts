import { describe, expect, it } from "vitest";
import { allocate, type Use } from "../../src/plan/register-allocation.ts";

const make = (...writes: number[]): Use => ({ reads: [], writes });
const use = (...reads: number[]): Use => ({ reads, writes: [] });

describe("allocate", () => {
  it("stores nothing while values fit", () => {
    const code = [make(1), make(2), { reads: [1, 2], writes: [3] }, use(3)];
    expect(allocate(code, 2)).toEqual({ alive: 2, available: 2, stores: 0, reloads: 0 });
  });

  it("stores the value that is read last, once, and loads it again", () => {
    const code = [make(1), make(2), make(3), use(2), use(3), use(1), use(1)];
    expect(allocate(code, 2)).toEqual({ alive: 3, available: 2, stores: 1, reloads: 1 });
  });

  it("needs no store for a value that is in the stack already", () => {
    // 1 gives way to 2 and 3, comes back, and gives way to 4 and 5.
    const code = [make(1), make(2), make(3), use(2, 3), use(1), make(4), make(5), use(4, 5), use(1)];
    expect(allocate(code, 2)).toMatchObject({ stores: 1, reloads: 2 });
  });

  it("keeps sums that go round a loop where they are if they fit, and else stores one a round at least", () => {
    const add = (sum: number): Use => ({ reads: [sum], writes: [sum] });
    const body = [add(-1), add(-2), add(-3)];
    expect(allocate(body, 3, true)).toMatchObject({ stores: 0, reloads: 0 });
    expect(allocate(body, 2, true).stores).toBeGreaterThan(0);
    expect(allocate(body, 2, true).reloads).toBeGreaterThan(0);
  });
});
