import type { BackendKind } from "../engine/backend.ts";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";

/** The machine to plan for: this one, `generic`, or one in a JSON file: described, or as `qigen doctor --json` prints it. */
export async function machineFor(flag: string | undefined): Promise<Machine> {
  if (flag === undefined) {
    const { describeMachine } = await import("../host/describe-machine.ts");
    return describeMachine();
  }
  const { genericMachine, parseMachine } = await import("../plan/machine.ts");
  if (flag === "generic") return genericMachine();
  const text = await readText(flag);
  return parseMachine(machineIn(text) ?? text, flag);
}

/** The machine within a diagnosis, if the text is one. */
function machineIn(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("machine" in value)) return undefined;
    return JSON.stringify(value.machine);
  } catch {
    return undefined;
  }
}

/** The ISA of that name, whether or not the machine has it; else the best of the machine (for the backend). */
export async function isaFor(machine: Machine, name?: string, backend?: BackendKind): Promise<Isa> {
  const [{ isaNamed }, { chooseIsa }] = await Promise.all([
    import("../isa/index.ts"),
    import("../engine/choose.ts"),
  ]);
  return name === undefined ? chooseIsa(machine, undefined, backend) : isaNamed(name);
}

/** The ISA that models run on here when nothing is said: a native one needs a compiler, too. */
export async function isaHere(machine: Machine): Promise<Isa> {
  const [{ chooseIsa, nativeObstacle }, { findCompilers }] = await Promise.all([
    import("../engine/choose.ts"),
    import("../host/compilers.ts"),
  ]);
  const obstacle = nativeObstacle(machine, await findCompilers());
  return chooseIsa(machine, undefined, obstacle === undefined ? "native" : "wasm");
}

/** A text file of the user's. Throws `FileAccessError`. */
export async function readText(path: string): Promise<string> {
  const [{ readFile }, { fileAccessError }] = await Promise.all([
    import("node:fs/promises"),
    import("../host/node-files.ts"),
  ]);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw fileAccessError(path, error);
  }
}
