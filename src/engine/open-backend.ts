import type { Backend, BackendRequest } from "./backend.ts";
import type { BackendChoice } from "./choose.ts";
import { InterpreterBackend } from "./interpreter.ts";
import { createNativeBackend } from "./native.ts";
import { createWasmBackend } from "./wasm.ts";

/** Makes backends of the kind that was chosen. */
export function opener({ kind, compiler }: BackendChoice): (request: BackendRequest) => Promise<Backend> {
  if (compiler !== undefined) return (request) => createNativeBackend(request, compiler);
  if (kind === "interpreter") return async (request) => new InterpreterBackend(request);
  return createWasmBackend;
}
