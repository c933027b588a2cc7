import { describe, expect, test } from "vitest";
import { projectionBytes } from "../../src/api/benchmark-work.ts";
import { compileModel } from "../../src/engine/load-model.ts";
import { openSynthetic } from "../../src/engine/synthetic.ts";
import { ISAS } from "../../src/isa/index.ts";
import { genericMachine } from "../../src/plan/machine.ts";

/** Weights of the projections of Llama-2-7B: 32 layers of four matrices of 4096² and three of 4096 · 11008. */
const WEIGHTS = 32 * (4 * 4096 ** 2 + 3 * 4096 * 11008);

/** Bytes that the projections of the 7B shape get when weights are laid out in memory, nothing of it allocated. */
function bytesOf(format: string, isa: (typeof ISAS)[number]): number {
  const kind = isa.syntax === "wasm" ? "wasm" : "native";
  const model = openSynthetic({ shape: "llama-2-7b", format });
  return projectionBytes(
    compileModel(model, genericMachine(), isa, kind, { threads: 2, contextLength: 512 }),
  );
}

describe.each(ISAS.map((isa) => [isa.name, isa] as const))("projections of the 7B shape on %s", (_, isa) => {
  test("take 3.7 times less memory in 4bit-g128 than in F16, and 7 times less in 2bit-g128", () => {
    const half = bytesOf("F16", isa);
    expect(half).toBeGreaterThanOrEqual(2 * WEIGHTS);
    expect(half / bytesOf("4bit-g128", isa)).toBeGreaterThan(3.7);
    expect(half / bytesOf("2bit-g128", isa)).toBeGreaterThan(7);
  });
});
