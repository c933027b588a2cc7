import { UsageError } from "../base/errors.ts";
import { avx2 } from "./avx2.ts";
import { avx512Vnni } from "./avx512-vnni.ts";
import type { Isa } from "./isa.ts";
import { wasmSimd128 } from "./wasm-simd128.ts";

/** Every instruction set there is a table for, best first. */
export const ISAS: readonly Isa[] = [avx512Vnni, avx2, wasmSimd128];

/** The table of that name. Throws `UsageError` listing the names there are. */
export function isaNamed(name: string): Isa {
  const isa = ISAS.find((candidate) => candidate.name === name);
  if (isa) return isa;
  const known = ISAS.map((candidate) => candidate.name).join(", ");
  throw new UsageError(`no instruction set ${JSON.stringify(name)}; there are ${known}`);
}
