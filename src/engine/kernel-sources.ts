import { emitC } from "../emit/c.ts";
import { C_MEMORY } from "../emit/c-memory.ts";
import { emitRuntime } from "../emit/c-runtime.ts";
import { type Sources, sourcesOf, type Unit } from "../host/compile.ts";
import { generatorVersion } from "../host/generator-version.ts";
import type { Kernel, Statement } from "../ir/types.ts";
import { verify } from "../ir/verify.ts";
import type { Isa } from "../isa/isa.ts";
import { generated, type KernelRecipe } from "../kernels/recipe.ts";

/** Statements of a translation unit, about: gcc takes some 0.3 s for them, and 0.06 s for a unit without any. */
const UNIT_STATEMENTS = 1000;

/** The C of kernels, found by their recipes where all have one: what is in the cache need not be generated. */
export function kernelSources(kernels: readonly (Kernel | KernelRecipe)[], isa: Isa): Sources {
  const version = generatorVersion();
  const specs = kernels.flatMap((kernel) => ("spec" in kernel ? [[kernel.name, kernel.spec]] : []));
  if (version === undefined || specs.length < kernels.length) return sourcesOf([...units(kernels, isa)]);
  return { key: JSON.stringify([version, isa.name, specs]), units: () => units(kernels, isa) };
}

/** The memory, the kernels in their order, and the runtime. A kernel is generated when its unit is wanted. */
function* units(kernels: readonly (Kernel | KernelRecipe)[], isa: Isa): Generator<Unit> {
  yield { name: "memory", text: C_MEMORY };
  const made: Kernel[] = [];
  let first = 0;
  let size = 0;
  for (const kernel of kernels) {
    const next = generated(kernel);
    verify(next);
    size += statements(next.body);
    made.push(next);
    if (size < UNIT_STATEMENTS && made.length < kernels.length) continue;
    yield { name: `kernels${first}`, text: emitC(made.slice(first), isa) };
    first = made.length;
    size = 0;
  }
  yield { name: "runtime", text: emitRuntime(made) };
}

function statements(body: readonly Statement[]): number {
  return body.reduce((sum, s) => {
    if (s.kind === "loop") return sum + 1 + statements(s.body);
    if (s.kind === "if") return sum + 1 + statements(s.body) + statements(s.otherwise);
    return sum + 1;
  }, 0);
}
