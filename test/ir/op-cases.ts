import { assert } from "../../src/base/assert.ts";
import type { Target } from "../../src/ir/types.ts";
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
