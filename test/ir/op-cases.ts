import { assert } from "../../src/base/assert.ts";
import { DOT_OPS, OPS, OPTIONAL_OPS } from "../../src/ir/ops.ts";
import type { Target } from "../../src/ir/types.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { codeCases } from "./byte-cases.ts";
import type { OpCase } from "./case-draft.ts";
import { controlCases } from "./control-cases.ts";
import { arithmeticCases } from "./lane-cases.ts";
import { memoryCases } from "./memory-cases.ts";

export { difference, type OpCase, relocate } from "./case-draft.ts";

/**
 * The conformance cases of a target: every op on its corner values first, then on seeded random ones, and structured
 * control. Each backend runs them and compares with the interpreter, bit for bit. Case and kernel names are unique.
 */
export function opCases(target: Target): OpCase[] {
  const cases = [
    ...arithmeticCases(target),
    ...codeCases(target),
    ...memoryCases(target),
    ...controlCases(target),
  ];
  assert(new Set(cases.map((c) => c.kernel.name)).size === cases.length, "two cases with the same name");
  return cases;
}

/** What an instruction set is to do: every op but the optional ones that it lacks, and control. */
export function opsOf({ rows }: Isa): string[] {
  const lacks = (op: string) => OPTIONAL_OPS.some((optional) => optional === op && !(op in rows));
  return [...Object.keys(OPS), ...DOT_OPS, "control"].filter((op) => !lacks(op));
}

/** Cases of the ops that an instruction set has. */
export function casesOf(isa: Isa): OpCase[] {
  const ops = opsOf(isa);
  return opCases(isa).filter(({ op }) => ops.includes(op));
}
