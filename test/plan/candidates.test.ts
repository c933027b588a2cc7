import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { verify } from "../../src/ir/verify.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import type { Isa } from "../../src/isa/isa.ts";
import type { Blocking } from "../../src/kernels/blocking.ts";
import { projection } from "../../src/kernels/projection.ts";
import { candidates, inputUnit } from "../../src/plan/candidates.ts";
import type { ProjectionShape } from "../../src/plan/shape.ts";
import { CHUNK, familyFormat, formatNamed, isSigns } from "../../src/quant/formats.ts";
import { sharedVectors } from "../../src/quant/packing.ts";
import { panelInputs } from "../../src/quant/sign-words.ts";
import { anyIsa, anyShape, anyTokens } from "./arbitraries.ts";

function isLegal(
  isa: Isa,
  shape: ProjectionShape,
  tokens: number,
  { mb, tb, mu, tu, nu, expand }: Blocking,
): boolean {
  const signs = isSigns(shape.format);
  const shared = sharedVectors(shape.format, isa);
  return (
    (signs ? [shared, 2 * shared] : [1, 2, 4]).includes(tu / isa.lanes) &&
    !(signs && expand) &&
    128 % tu === 0 &&
    tb % tu === 0 &&
    (mb === shape.cols || (mb < shape.cols && mb % inputUnit(shape) === 0)) &&
    (!signs || mb === Math.min(shape.cols, panelInputs(isa.signs))) &&
    mu % CHUNK === 0 &&
    nu >= 1 &&
    nu <= tokens
  );
}

describe("candidates", () => {
  it("are legal, different and few", () => {
    fc.assert(
      fc.property(anyIsa, anyShape, anyTokens, (isa, shape, tokens) => {
        const all = candidates(isa, shape, tokens);
        expect(all.length).toBeGreaterThan(0);
        expect(all.length).toBeLessThanOrEqual(400);
        expect(new Set(all.map((b) => JSON.stringify(b))).size).toBe(all.length);
        expect(all.filter((blocking) => !isLegal(isa, shape, tokens, blocking))).toEqual([]);
      }),
    );
  });

  it("read all inputs at once, but of panels, and one token at a time when there is one token", () => {
    fc.assert(
      fc.property(anyIsa, anyShape, (isa, shape) => {
        for (const { mb, tb, tu, nu } of candidates(isa, shape, 1)) {
          expect(nu).toBe(1);
          if (isSigns(shape.format)) continue;
          expect(tb).toBe(tu);
          expect(mb).toBeGreaterThanOrEqual(shape.cols);
        }
      }),
    );
  });

  it("read all inputs of float weights at once", () => {
    const shape = {
      format: formatNamed("F16"),
      rows: 256,
      cols: 8192,
      activations: { kind: "f32" },
    } as const;
    expect(new Set(candidates(avx2, shape, 64).map((b) => b.mb))).toEqual(new Set([8192]));
  });

  it("end input blocks where both a group and an activation block end", () => {
    const format = familyFormat(4, 96, true);
    const shape = { format, rows: 64, cols: 9600, activations: { kind: "int8", block: 32 } } as const;
    expect(inputUnit(shape)).toBe(96);
    expect(inputUnit({ ...shape, activations: { kind: "int8", block: 192 } })).toBe(192);
    expect(inputUnit({ ...shape, activations: { kind: "int8", block: "row" } })).toBe(96);
  });

  it("can all be generated", () => {
    const shape = { rows: 64, cols: 320, activations: { kind: "int8", block: 64 } } as const;
    for (const format of [familyFormat(4, 64, false), familyFormat(3, 128, true)]) {
      for (const blocking of candidates(avx2, { format, ...shape }, 8)) {
        verify(projection({ format, ...shape, blocking }, avx2));
      }
    }
  });
});
