import { MachineError, UsageError } from "../base/errors.ts";
import type { Compiler, Compilers } from "../host/compilers.ts";
import { ISAS, isaNamed } from "../isa/index.ts";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";
import type { BackendKind } from "./backend.ts";

/** WebAssembly features of every JavaScript engine this package runs on; CPU probes do not list them. */
const WASM_BASELINE = ["simd128"];

/** The syntax a backend compiles; the interpreter needs none, and runs every ISA. */
const SYNTAX: Readonly<Record<BackendKind, Isa["syntax"] | undefined>> = {
  native: "c",
  wasm: "wasm",
  interpreter: undefined,
};

/** Features of the ISA that the machine lacks. */
export function missingFeatures(machine: Machine, isa: Isa): string[] {
  const present = isa.syntax === "wasm" ? [...WASM_BASELINE, ...machine.features] : machine.features;
  return isa.features.filter((feature) => !present.includes(feature));
}

/** The ISAs that a backend can run on the machine, best first. */
export function usableIsas(machine: Machine, backend: BackendKind): Isa[] {
  const syntax = SYNTAX[backend];
  if (syntax === undefined) return [...ISAS];
  return ISAS.filter((isa) => isa.syntax === syntax && missingFeatures(machine, isa).length === 0);
}

/**
 * The ISA of that name, or the best one that the machine has; `backend` leaves only those it can run, otherwise native
 * ones come before WebAssembly.
 *
 * @throws UsageError when there is no such ISA, or the backend does not run it
 * @throws MachineError when the CPU lacks what it needs
 */
export function chooseIsa(machine: Machine, requested?: string, backend?: BackendKind): Isa {
  const kinds: readonly BackendKind[] = backend === undefined ? ["native", "wasm"] : [backend];
  const usable = kinds.flatMap((kind) => usableIsas(machine, kind));
  const names = usable.map((isa) => isa.name).join(", ") || "none";
  if (requested === undefined) {
    if (usable[0]) return usable[0];
    throw new MachineError(
      `the ${backend} backend has no instruction set for this CPU (${machine.name}, ${machine.architecture}); ` +
        "the wasm backend runs on any",
    );
  }
  const isa = isaNamed(requested);
  if (usable.includes(isa)) return isa;
  const missing = missingFeatures(machine, isa);
  if (missing.length > 0 && backend !== "interpreter") {
    throw new MachineError(
      `${isa.name} needs CPU features that ${machine.name} lacks: ${missing.join(", ")}; usable here: ${names}`,
    );
  }
  throw new UsageError(`the ${backend} backend does not run ${isa.name}; usable here: ${names}`);
}

/** What the user asked for. */
export interface BackendWish {
  readonly backend?: BackendKind | undefined;
  readonly isa?: string | undefined;
}

export interface BackendChoice {
  readonly kind: BackendKind;
  readonly isa: Isa;
  /** Set exactly for the native backend. */
  readonly compiler?: Compiler;
  /** Why this backend, for the user. */
  readonly reason: string;
}

/**
 * The backend and ISA to run with: native where a compiler works and the CPU has an ISA, else wasm.
 *
 * @throws MachineError when what was asked for (here, or by $QIGEN_CC) does not work
 * @throws UsageError when there is no such ISA, or the backend does not run it
 */
export function chooseBackend(
  machine: Machine,
  compilers: Compilers,
  wish: BackendWish = {},
  platform: string = process.platform,
): BackendChoice {
  const wished = wish.backend ?? (wish.isa === undefined ? undefined : backendOf(isaNamed(wish.isa)));
  if (wished === "wasm" || wished === "interpreter") {
    return { kind: wished, isa: chooseIsa(machine, wish.isa, wished), reason: "asked for" };
  }
  const asked = brokenChoice(compilers);
  if (asked !== undefined) throw new MachineError(asked);
  const obstacle = nativeObstacle(machine, compilers, platform);
  if (obstacle === undefined || wished === "native") {
    const isa = chooseIsa(machine, wish.isa, "native");
    const compiler = compilers.working[0];
    if (obstacle !== undefined || compiler === undefined) {
      throw new MachineError(`the native backend cannot run: ${obstacle}; the wasm backend can`);
    }
    const reason = wished === "native" ? "asked for" : `${compiler.foundAs} works`;
    return { kind: "native", isa, compiler, reason };
  }
  return { kind: "wasm", isa: chooseIsa(machine, undefined, "wasm"), reason: `not native: ${obstacle}` };
}

function backendOf(isa: Isa): BackendKind {
  return isa.syntax === "c" ? "native" : "wasm";
}

/** A compiler that the user named and that fails is not passed over. */
function brokenChoice(compilers: Compilers): string | undefined {
  const asked = compilers.broken.find(({ foundAs }) => foundAs === "$QIGEN_CC");
  return asked && `$QIGEN_CC: ${asked.command}: ${asked.reason}`;
}

/** Why native code cannot be made or loaded here, if so. */
export function nativeObstacle(
  machine: Machine,
  compilers: Compilers,
  platform: string = process.platform,
): string | undefined {
  const asked = brokenChoice(compilers);
  if (asked !== undefined) return asked;
  if (platform === "win32") return "its runtime needs POSIX threads and memory mapping, which Windows lacks";
  if (usableIsas(machine, "native").length === 0) return `no instruction set for ${machine.name}`;
  if (compilers.working.length === 0) return "no C compiler works";
  return undefined;
}
