import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { InternalError } from "../../src/base/errors.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Kernel } from "../../src/ir/types.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import type { KernelRecipe } from "../../src/kernels/recipe.ts";
import { NATIVE_TARGETS, need } from "../backends.ts";

const target = NATIVE_TARGETS.find(({ isa }) => isa === avx2) as (typeof NATIVE_TARGETS)[number];

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "qigen-native-"));
  vi.stubEnv("QIGEN_CACHE", folder);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** p[0] ← value. */
function put(value: number): Kernel {
  const b = new KernelBuilder(avx2);
  const p = b.parameter("p", "ptr", "i32");
  b.op.istore(p, b.i(value), { offset: 0 });
  return b.build("put", []);
}

/** What the kernel writes. */
async function run(kernel: Kernel | KernelRecipe): Promise<number> {
  const backend = await target.create({ threads: 1, kernels: [kernel], capacity: 4096 });
  try {
    const region = backend.allocate(64, "working");
    await backend.run(backend.prepare([{ kernel: "put", arguments: [region.address], barrier: true }]));
    return region.view(0, 1)[0] as number;
  } finally {
    await backend.dispose();
  }
}

function recipe(value: number, generate = vi.fn(() => put(value))) {
  return { name: "put", spec: { value }, generate };
}

describe("compiled kernels that are in the cache", () => {
  test("are not generated again, and do the same", async (context) => {
    await need(target, context);
    const [first, second] = [recipe(3), recipe(3)];
    expect(await run(first)).toBe(3);
    expect(first.generate).toHaveBeenCalled();
    expect(await run(second)).toBe(3);
    expect(second.generate).not.toHaveBeenCalled();
  });

  test("are not taken for others of the same name", async (context) => {
    await need(target, context);
    expect(await run(recipe(4))).toBe(4);
    expect(await run(recipe(5))).toBe(5);
    expect(await run(put(6))).toBe(6);
    expect(await run(put(7))).toBe(7);
  });

  test("know how many arguments they take", async (context) => {
    await need(target, context);
    await run(recipe(8));
    const backend = await target.create({ threads: 1, kernels: [recipe(8)], capacity: 4096 });
    try {
      const step = { kernel: "put", arguments: [0, 0], barrier: true };
      expect(() => backend.prepare([step])).toThrow(InternalError);
      expect(() => backend.prepare([step])).toThrow("put has 1 parameters");
    } finally {
      await backend.dispose();
    }
  });
});
