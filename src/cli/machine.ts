import type { Machine } from "../plan/machine.ts";

/** The machine to plan for: this one, `generic`, or one described in a JSON file (as `qigen doctor --json` has it). */
export async function machineFor(flag: string | undefined): Promise<Machine> {
  if (flag === undefined) {
    const { describeMachine } = await import("../host/describe-machine.ts");
    return describeMachine();
  }
  const { genericMachine, parseMachine } = await import("../plan/machine.ts");
  if (flag === "generic") return genericMachine();
  return parseMachine(await readText(flag), flag);
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
