import { existsSync } from "node:fs";
import koffi from "koffi";
import type { TestContext } from "vitest";
import type { Backend, BackendRequest } from "../src/engine/backend.ts";
import { InterpreterBackend } from "../src/engine/interpreter.ts";
import { compilerFlags, createNativeBackend } from "../src/engine/native.ts";
import { createWasmBackend } from "../src/engine/wasm.ts";
import { type Compiler, chooseCompiler } from "../src/host/compilers.ts";
import { probeMachine } from "../src/host/probe.ts";
import { avx2 } from "../src/isa/avx2.ts";
import { avx512Vnni } from "../src/isa/avx512-vnni.ts";
import type { Isa } from "../src/isa/isa.ts";
import { wasmSimd128 } from "../src/isa/wasm-simd128.ts";
import { precompiledShim, SHIM, SHIM_VERSION } from "./simde-shim/shim.ts";

/** A way to run kernels that tests go through: a backend and an instruction set. */
export interface TestTarget {
  readonly name: string;
  readonly isa: Isa;
  create(request: Omit<BackendRequest, "isa">): Promise<Backend>;
  /** Why this machine cannot run it, if it cannot. */
  missing(): Promise<string | undefined>;
}

let chosen: Promise<Compiler> | undefined;

/** Asking compilers for their versions takes a while: once per test file. */
function theCompiler(): Promise<Compiler> {
  chosen ??= chooseCompiler();
  return chosen;
}

let cpuFeatures: readonly string[] | undefined;

/** CPU features of the ISA that this machine lacks. */
function lacking(isa: Isa): string[] {
  cpuFeatures ??= probeMachine().features;
  return isa.features.filter((f) => cpuFeatures?.includes(f) !== true);
}

function native(isa: Isa): TestTarget {
  return {
    name: `native ${isa.name}`,
    isa,
    create: async (request) => createNativeBackend({ ...request, isa }, await theCompiler()),
    missing: async () => {
      const absent = lacking(isa);
      if (absent.length > 0) return `this CPU has no ${absent.join(", ")}`;
      return theCompiler().then(
        () => undefined,
        (error: Error) => error.message,
      );
    },
  };
}

const hasSimde = ["/usr/include", "/usr/local/include"].some((folder) =>
  existsSync(`${folder}/simde/x86/avx512.h`),
);

/**
 * AVX-512-VNNI for CPUs that have only AVX2: the same C, with an <immintrin.h> that emulates the intrinsics
 * (`test/simde-shim`). The version of the shim is among the flags since they are part of the key of the compile cache.
 */
const avx512VnniSimde: Isa = {
  ...avx512Vnni,
  name: "avx512-vnni-simde",
  features: avx2.features,
  headers: ["#include <immintrin.h>"],
  flags: [
    ...avx2.flags,
    // Half the compile time, then a quarter of what is left.
    "-O1",
    "-DSIMDE_NO_INLINE",
    "-Wno-psabi",
    `-I${SHIM}`,
    `-DSHIM_VERSION=0x${SHIM_VERSION}`,
  ],
};

// Emulated vectors all live on the stack: a large micro-GEMV has a frame of 130 KiB, a native one of 17.
koffi.config({ async_stack_size: 2 ** 20 });

const nativeSimde: TestTarget = {
  ...native(avx512VnniSimde),
  create: async (request) => {
    const compiler = await theCompiler();
    const folder = await precompiledShim(compiler, compilerFlags(compiler, avx512VnniSimde));
    const isa = { ...avx512VnniSimde, flags: [`-I${folder}`, ...avx512VnniSimde.flags] };
    return createNativeBackend({ ...request, isa }, compiler);
  },
  missing: async () => {
    if (lacking(avx512Vnni).length === 0) return "this CPU has AVX-512 itself";
    if (!hasSimde) return "no SIMDe headers (Debian: libsimde-dev)";
    return native(avx512VnniSimde).missing();
  },
};

export const NATIVE_TARGETS: readonly TestTarget[] = [native(avx2), native(avx512Vnni), nativeSimde];

export const INTERPRETER_TARGETS: readonly TestTarget[] = [avx2, avx512Vnni, wasmSimd128].map((isa) => ({
  name: `interpreter ${isa.name}`,
  isa,
  create: async (request) => new InterpreterBackend({ ...request, isa }),
  missing: async () => undefined,
}));

export const WASM_TARGETS: readonly TestTarget[] = [wasmSimd128].map((isa) => ({
  name: `wasm ${isa.name}`,
  isa,
  create: (request) => createWasmBackend({ ...request, isa }),
  missing: async () => undefined,
}));

export const TARGETS: readonly TestTarget[] = [...INTERPRETER_TARGETS, ...NATIVE_TARGETS, ...WASM_TARGETS];

/** Skips the test with the reason when this machine cannot run the target. */
export async function need(target: TestTarget, context: TestContext): Promise<void> {
  const reason = await target.missing();
  if (reason !== undefined) context.skip(reason);
}

/** Skips where no native target runs here. */
export async function needNative(context: TestContext): Promise<void> {
  const reasons = await Promise.all(NATIVE_TARGETS.map((target) => target.missing()));
  if (reasons.every((reason) => reason !== undefined)) await need(NATIVE_TARGETS[0] as TestTarget, context);
}
