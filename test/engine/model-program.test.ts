import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compileModel, openModel } from "../../src/engine/load-model.ts";
import type { ModelProgram } from "../../src/engine/model-program.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { STEP_ROWS } from "../../src/plan/parts.ts";
import { saveGguf, tinyLlama } from "../cli/harness.ts";

const folder = mkdtempSync(join(tmpdir(), "qigen-program-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The parameter `scratch` of every step that has one: where it is, and how far its parts reach. */
function scratches(program: ModelProgram, rows: number): { from: number; to: number; barrier: boolean }[] {
  const sizes = new Map(
    [...program.matrices.values()].map(({ linear }) => [
      program.weights.offset(linear.tensor),
      program.scratchOf(linear),
    ]),
  );
  return program.steps(rows, { weights: 0, cache: 0, work: 0 }).map((step) => {
    const kernel = program.kernels.get(step.kernel)?.generate();
    const at = kernel?.parameters.findIndex(({ name }) => name === "scratch") ?? -1;
    const isProjection = step.kernel.startsWith("project") && at >= 0;
    const from = isProjection ? (step.arguments[at] as number) : 0;
    const bytes = isProjection ? (sizes.get(step.arguments[0] as number) as number) : 0;
    return { from, to: from + bytes, barrier: step.barrier };
  });
}

describe("expanded weights", () => {
  it("of projections that run at the same time do not overlap", async () => {
    const path = await saveGguf(join(folder, "tiny.gguf"), tinyLlama());
    const model = await openModel(path);
    const program = compileModel(model, genericMachine(), avx2, "native", { threads: 2 });
    const area = program.work.part("scratch");
    let expanded = 0;
    for (const rows of STEP_ROWS) {
      let together: { from: number; to: number }[] = [];
      for (const { from, to, barrier } of scratches(program, rows)) {
        if (to > from) {
          expanded++;
          expect(from).toBeGreaterThanOrEqual(area.offset);
          expect(to).toBeLessThanOrEqual(area.offset + area.bytes);
          for (const other of together) expect(from >= other.to || to <= other.from).toBe(true);
          together.push({ from, to });
        }
        if (barrier) together = [];
      }
    }
    expect(expanded).toBeGreaterThan(0);
    await model.close();
  });
});
