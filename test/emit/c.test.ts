import { describe, expect, test } from "vitest";
import { emitC } from "../../src/emit/c.ts";
import { createNativeBackend } from "../../src/engine/native.ts";
import { chooseCompiler } from "../../src/host/compilers.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { avx512Vnni } from "../../src/isa/avx512-vnni.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { norm } from "../../src/kernels/norm.ts";
import { projection } from "../../src/kernels/projection.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { expectGolden } from "../golden.ts";
import { everyKernel } from "../kernels/every-kernel.ts";

const int8 = { kind: "int8", block: 32 } as const;

describe("generated C", () => {
  test("a projection of one token, AVX2", () => {
    const spec = {
      format: formatNamed("Q4_0"),
      cols: 256,
      activations: int8,
      blocking: { mb: 256, tb: 16, mu: 32, tu: 16, nu: 1 },
    };
    expectGolden("project-q4_0-avx2.c", emitC([projection(spec, avx2)], avx2));
  });

  test("a projection that looks up sums by signs, AVX2", () => {
    const spec = {
      format: formatNamed("Q1_0"),
      cols: 128,
      activations: int8,
      blocking: { mb: 128, tb: 32, mu: 32, tu: 32, nu: 1 },
    };
    expectGolden("project-q1_0-avx2.c", emitC([projection(spec, avx2)], avx2));
  });

  test("a projection of two tokens at a time, odd code width, AVX-512-VNNI", () => {
    const spec = {
      format: formatNamed("3bit-g32"),
      cols: 256,
      activations: int8,
      blocking: { mb: 256, tb: 32, mu: 32, tu: 16, nu: 2 },
    };
    expectGolden("project-3bit-avx512-vnni.c", emitC([projection(spec, avx512Vnni)], avx512Vnni));
  });

  test("a norm, AVX2", () => {
    const kernel = norm(
      { kind: "rms", cols: 200, epsilon: 1e-5, gather: true, bias: false, accumulate: false },
      avx2,
    );
    expectGolden("rmsnorm-avx2.c", emitC([kernel], avx2));
  });

  test("has only the helpers that it calls", () => {
    const b = new KernelBuilder(avx2);
    const p = b.parameter("p", "ptr", "memory");
    b.op.istore(p, b.i(1), { offset: 0 });
    const text = emitC([b.build("one", [])], avx2);
    expect(text.match(/static inline \w+ \w+/g)).toEqual(["static inline void store_i32"]);
    expect(text).not.toContain("team_barrier");
  });
});

/** Compiles without running: the CPU need not have the instructions. */
async function compile(isa: Isa, warnings: readonly string[]): Promise<void> {
  const compiler = await chooseCompiler();
  const strict = { ...isa, flags: [...isa.flags, ...warnings] };
  const kernels = everyKernel(isa);
  const backend = await createNativeBackend({ isa: strict, threads: 1, kernels, capacity: 0 }, compiler);
  await backend.dispose();
}

test.for([avx2, avx512Vnni])("every kernel compiles without warnings: $name", async (isa, context) => {
  if (process.arch !== "x64") context.skip("not an x86-64 CPU");
  await chooseCompiler().catch((error: Error) => context.skip(error.message));
  await compile(isa, ["-Wall", "-Wextra", "-Werror"]);
});
