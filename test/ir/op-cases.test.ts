import { describe, expect, test } from "vitest";
import { Interpreter } from "../../src/ir/interp.ts";
import { DOT_OPS, OPS } from "../../src/ir/ops.ts";
import type { Statement } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import { difference, opCases, relocate } from "./op-cases.ts";
import { targets } from "./targets.ts";

function opsOf(statements: readonly Statement[]): string[] {
  return statements.flatMap((s) => {
    if (s.kind === "op" || s.kind === "dot") return [s.op];
    if (s.kind === "loop") return opsOf(s.body);
    return s.kind === "if" ? [...opsOf(s.body), ...opsOf(s.otherwise)] : [];
  });
}

describe.each(targets)("op cases of $name", (target) => {
  const cases = opCases(target);

  test("cover every op", () => {
    const missing = [...Object.keys(OPS), ...DOT_OPS].filter(
      (op) => !cases.some((c) => c.op === op && opsOf(c.kernel.body).includes(op)),
    );
    expect(missing).toEqual([]);
  });

  test("are well-formed kernels", () => {
    for (const c of cases) verify(c.kernel);
  });

  test("run within what the ops allow, write their outputs and nothing else", () => {
    for (const c of cases) {
      const memory = c.memory.slice();
      new Interpreter(c.kernel).run(memory.buffer, c.argumentsAddress, 1);
      const [start, end] = c.outputRange;
      const untouched = (from: number, to: number) =>
        Buffer.compare(memory.subarray(from, to), c.memory.subarray(from, to)) === 0;
      expect(untouched(0, start + 60) && untouched(end - 60, memory.length), c.name).toBe(true);
      expect(untouched(start, end), c.name).toBe(false);
    }
  });

  test("give the same at another address", () => {
    for (const c of cases.slice(0, 20)) {
      const [base, low, high] = [4096, c.memory.slice(), new Uint8Array(4096 + c.memory.length)];
      high.set(relocate(c, BigInt(base)), base);
      const interpreter = new Interpreter(c.kernel);
      interpreter.run(low.buffer, c.argumentsAddress, 1);
      interpreter.run(high.buffer, base + c.argumentsAddress, 1);
      expect(difference(c, low, high.subarray(base))).toBeUndefined();
    }
  });
});
