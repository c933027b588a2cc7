import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { shapeKey } from "../../src/plan/shape.ts";
import type { TunedShape } from "../../src/plan/tuning.ts";
import { projectionOf } from "./llama.ts";

/** A shape that records are kept for, and a blocking for it that no plan chooses. */
export const { shape } = projectionOf("query", "Q4_0", 4096, 4096);
export const entry: TunedShape = {
  isa: "avx2",
  threads: 2,
  shape: shapeKey(shape),
  blocking: { mb: 1024, tb: 64, mu: 32, tu: 16, nu: 4 },
};

/** A cache folder for the tests of one file, and the variables that name it. */
export function temporaryCache(): { readonly folder: string; readonly env: Record<string, string> } {
  const folder = mkdtempSync(join(tmpdir(), "qigen-records-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, env: { QIGEN_CACHE: folder } };
}
