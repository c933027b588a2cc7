import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, type TestContext, test } from "vitest";
import { type CliResult, saveGguf, temporaryFolder, tinyLlama } from "./harness.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const built = existsSync(join(root, "dist/cli/main.js"));
const folder = temporaryFolder();
const model = join(folder, "tiny.gguf");
/** Long enough that no test sees its end. */
const ENDLESS = ["run", model, "-p", "bada", "--backend", "wasm", "--context-length", "4096", "--seed", "1"];

beforeAll(async () => {
  await saveGguf(model, tinyLlama());
});

interface Finished extends CliResult {
  readonly signal: NodeJS.Signals | null;
}

/** Runs the built command line. `onText` sees standard output as it grows. */
function qigen(
  context: TestContext,
  args: readonly string[],
  onText: (text: string, child: ChildProcess) => void = () => {},
): Promise<Finished> {
  context.skip(!built, "not built: npm run build");
  const child = spawn(process.execPath, [join(root, "bin/qigen.js"), ...args], { stdio: "pipe" });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => {
    stdout += part;
    onText(stdout, child);
  });
  child.stderr.on("data", (part) => {
    stderr += part;
  });
  child.stdin.end();
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? -1, signal, stdout, stderr }));
  });
}

describe("the built command line", () => {
  test("tells its version", async (context) => {
    expect(await qigen(context, ["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  test("runs a model", async (context) => {
    const { code, stdout, stderr } = await qigen(context, [...ENDLESS, "-n", "5"]);
    expect(stderr).toMatch(/^running on wasm/);
    expect(code).toBe(0);
    expect(stdout).not.toBe("");
  });

  test("exits with 2 for wrong usage and 1 for a missing file", async (context) => {
    expect(await qigen(context, ["run", "--nonsense"])).toMatchObject({ code: 2, stdout: "" });
    expect(await qigen(context, ["inspect", join(folder, "absent")])).toMatchObject({ code: 1, stdout: "" });
  });

  test("a reader that closes the pipe ends it, quietly", async (context) => {
    const { code, stderr } = await qigen(context, ENDLESS, (_, child) => child.stdout?.destroy());
    expect(code).toBe(0);
    expect(stderr).toMatch(/^running on .*\n$/);
  });

  test.for([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s ends it with exit code %d and no stack trace", async ([signal, expected], context) => {
    let sent = false;
    const result = await qigen(context, ENDLESS, (_, child) => {
      if (!sent) child.kill(signal);
      sent = true;
    });
    expect(result).toMatchObject({ code: expected, signal: null });
    expect(result.stderr).toMatch(/^running on .*\n$/);
    expect(result.stdout).toMatch(/\n$/);
  });
});
