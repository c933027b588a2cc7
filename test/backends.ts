import type { TestContext } from "vitest";
import type { Backend, BackendRequest } from "../src/engine/backend.ts";
import { InterpreterBackend } from "../src/engine/interpreter.ts";
import { createNativeBackend } from "../src/engine/native.ts";
import { chooseCompiler } from "../src/host/compilers.ts";
import { probeMachine } from "../src/host/probe.ts";
import { avx2 } from "../src/isa/avx2.ts";
import { avx512Vnni } from "../src/isa/avx512-vnni.ts";
import type { Isa } from "../src/isa/isa.ts";

/** A way to run kernels that tests go through: a backend and an instruction set. */
export interface TestTarget {
  readonly name: string;
  readonly isa: Isa;
  create(request: Omit<BackendRequest, "isa">): Promise<Backend>;
  /** Why this machine cannot run it, if it cannot. */
  missing(): Promise<string | undefined>;
}

function native(isa: Isa): TestTarget {
  return {
    name: `native ${isa.name}`,
    isa,
    create: async (request) => createNativeBackend({ ...request, isa }, await chooseCompiler()),
    missing: async () => {
      const { features } = probeMachine();
      const lacking = isa.features.filter((f) => !features.includes(f));
      if (lacking.length > 0) return `this CPU has no ${lacking.join(", ")}`;
      return chooseCompiler().then(
        () => undefined,
        (error: Error) => error.message,
      );
    },
  };
}

export const NATIVE_TARGETS: readonly TestTarget[] = [native(avx2), native(avx512Vnni)];

export const INTERPRETER_TARGETS: readonly TestTarget[] = [avx2].map((isa) => ({
  name: `interpreter ${isa.name}`,
  isa,
  create: async (request) => new InterpreterBackend({ ...request, isa }),
  missing: async () => undefined,
}));

export const TARGETS: readonly TestTarget[] = [...INTERPRETER_TARGETS, ...NATIVE_TARGETS];

/** Skips the test with the reason when this machine cannot run the target. */
export async function need(target: TestTarget, context: TestContext): Promise<void> {
  const reason = await target.missing();
  if (reason !== undefined) context.skip(reason);
}
