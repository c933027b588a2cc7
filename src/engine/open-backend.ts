import { assert } from "../base/assert.ts";
import type { Backend, BackendRequest } from "./backend.ts";
import type { BackendChoice } from "./choose.ts";
import { InterpreterBackend } from "./interpreter.ts";
import { createNativeBackend } from "./native.ts";
import { createWasmBackend } from "./wasm.ts";

/** Makes backends of the kind that was chosen. */
export function opener({
  kind,
  compiler,
}: Pick<BackendChoice, "kind" | "compiler">): (request: BackendRequest) => Promise<Backend> {
  switch (kind) {
    case "native":
      assert(compiler !== undefined, "native without a compiler");
      return (request) => createNativeBackend(request, compiler);
    case "wasm":
      return createWasmBackend;
    case "interpreter":
      return async (request) => new InterpreterBackend(request);
  }
}
