import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alignUp } from "../../src/base/bytes.ts";
import { InternalError } from "../../src/base/errors.ts";
import type { Backend, Region } from "../../src/engine/backend.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import { ARGUMENT_SLOT_BYTES } from "../../src/ir/types.ts";
import { NATIVE_TARGETS, need } from "../backends.ts";
import { casesOf, difference, type OpCase, opsOf } from "../ir/op-cases.ts";

/** Where each case's memory starts in one region. */
interface Place {
  readonly opCase: OpCase;
  readonly offset: number;
}

function places(cases: readonly OpCase[]): { placed: readonly Place[]; bytes: number } {
  let end = 0;
  const placed = cases.map((opCase) => {
    const offset = end;
    end = alignUp(end + opCase.memory.length, 64);
    return { opCase, offset };
  });
  return { placed, bytes: end };
}

/** The arguments of a case whose memory starts at `base`. */
function argumentsOf({ kernel, memory, argumentsAddress }: OpCase, base: number): number[] {
  const view = new DataView(memory.buffer, memory.byteOffset);
  return kernel.parameters.map(({ type }, i) => {
    const p = argumentsAddress + ARGUMENT_SLOT_BYTES * i;
    if (type === "ptr") return base + Number(view.getBigUint64(p, true));
    return type === "i32" ? view.getInt32(p, true) : view.getFloat32(p, true);
  });
}

/** Every case is a kernel of one library, and a step of one program. */
async function runAll(backend: Backend, placed: readonly Place[], memory: Region): Promise<void> {
  for (const { opCase, offset } of placed) memory.view(offset, opCase.memory.length).set(opCase.memory);
  const steps = placed.map(({ opCase, offset }) => ({
    kernel: opCase.kernel.name,
    arguments: argumentsOf(opCase, memory.address + offset),
    barrier: true,
  }));
  await backend.run(backend.prepare(steps));
}

/** The first byte that a case changed outside its outputs. */
function strayByte({ memory, outputRange }: OpCase, after: Uint8Array): number | undefined {
  const at = after.findIndex((byte, i) => byte !== memory[i] && (i < outputRange[0] || i >= outputRange[1]));
  return at < 0 ? undefined : at;
}

describe.each(NATIVE_TARGETS.map((target) => [target.name, target] as const))(
  "every op on %s",
  (_, target) => {
    const { placed, bytes } = places(casesOf(target.isa));
    let backend: Backend | undefined;
    let memory: Region | undefined;

    beforeAll(async () => {
      if ((await target.missing()) !== undefined) return;
      const kernels = placed.map(({ opCase }) => opCase.kernel);
      backend = await target.create({ threads: 1, kernels, capacity: bytes });
      memory = backend.allocate(bytes, "working");
      await runAll(backend, placed, memory);
    });

    afterAll(() => backend?.dispose());

    test.for(opsOf(target.isa))("%s", async (op, context) => {
      await need(target, context);
      if (memory === undefined) throw new InternalError("the cases were not run");
      const ofOp = placed.filter(({ opCase }) => opCase.op === op);
      expect(ofOp.length).toBeGreaterThan(0);
      for (const { opCase, offset } of ofOp) {
        const expected = opCase.memory.slice();
        new Interpreter(opCase.kernel).run(expected.buffer, opCase.argumentsAddress, 1);
        const after = memory.view(offset, expected.length);
        expect(difference(opCase, expected, after)).toBeUndefined();
        expect(strayByte(opCase, after), `${opCase.name} writes elsewhere`).toBeUndefined();
      }
    });
  },
);
