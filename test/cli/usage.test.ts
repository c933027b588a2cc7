import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { reportFailure } from "../../src/cli/failure.ts";
import { Interrupts } from "../../src/cli/io.ts";
import { packageVersion, runCli } from "../../src/cli/program.ts";
import { Collected, cli, lines, saveGguf, temporaryFolder, tinyLlama } from "./harness.ts";

const folder = temporaryFolder();
const COMMANDS = [
  "run",
  "chat",
  "pull",
  "list",
  "rm",
  "inspect",
  "explain",
  "generate",
  "doctor",
  "tune",
  "quantize",
  "bench",
  "perplexity",
  "eval",
];

describe("help", () => {
  test("without arguments it lists the commands", async () => {
    const { code, stdout, stderr } = await cli([]);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    expect(await cli(["--help"])).toEqual({ code, stdout, stderr });
  });

  test.each(COMMANDS)("%s --help has examples that name the command", async (command) => {
    const { code, stdout } = await cli([command, "--help"]);
    expect(code).toBe(0);
    const [, examples = ""] = stdout.split("\nExamples:\n");
    expect(examples).toContain(`qigen ${command}`);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  test("--version", async () => {
    expect(await cli(["--version"])).toEqual({ code: 0, stdout: `${packageVersion()}\n`, stderr: "" });
  });
});

describe("wrong usage has exit code 2 and one line", () => {
  const CASES: readonly (readonly [string, RegExp])[] = [
    ["frobnicate", /unknown command 'frobnicate'/],
    ["genrate", /unknown command 'genrate'\n\(Did you mean generate\?\)/],
    ["run --nonsense", /unknown option '--nonsense'/],
    ["run a b", /too many arguments/],
    ["run --temperature warm", /--temperature.*It must be a number/],
    ["run --temperature 200", /temperature must be a number from 0 to 100, not 200/],
    ["run --seed -1", /--seed/],
    ["run --max-tokens 1.5", /--max-tokens.*It must be a whole number/],
    ["run --backend cuda", /Allowed choices are native, wasm, interpreter/],
    ["run -p a -f b", /exclude each other/],
    ["chat", /missing required argument 'model'/],
    ["pull owner/name", /"owner\/name": no reference; a model on the hub is hf:owner\/name, /],
    ["run hf:owner", /no repository/],
    ["rm hf:owner/name/README.md", /no GGUF file/],
    ["inspect", /missing required argument 'model'/],
    ["bench", /name either a model file or a shape \(--synthetic\)/],
    ["explain a.gguf --synthetic llama-2-7b", /name either a model file or a shape/],
    ["explain a.gguf --format Q4_0", /a file has its own formats/],
    ["bench --synthetic llama-2-8b", /no model shape "llama-2-8b"; known: tinyllama-1.1b, llama-2-7b, /],
    ["bench --synthetic llama-2-7b --placement mapped", /synthetic weights are in no file/],
    ["perplexity a.gguf", /required option '-t, --text <file>'/],
    ["perplexity a.gguf --text t --protocol best", /Allowed choices are llama.cpp, gptq/],
    ["perplexity a.gguf --text t --bos window", /bos is for the protocol gptq/],
    ["perplexity a.gguf --text t --context 64 --stride 64", /stride must be a whole number from 1 to 63/],
    ["perplexity a.gguf --text t --chunks 0", /--chunks.*It must be 1 or more/],
    ["eval a.gguf", /required option '--task <file>'/],
    ["quantize a b --group-size 0x20", /--group-size.*It must be a whole number/],
    ["quantize a b --method rtn --format gguf:q4_0 --bits 3", /bits is of the format gptq/],
    ["report a.gguf --text t --repeat 0", /--repeat.*It must be 1 or more/],
    ["generate --format Q4_0 --cols 32", /required option '--rows <n>'/],
    ["generate --format Q4_0 --rows 0 --cols 32", /rows must be a whole number from 1/],
    ["generate --format Q4_0 --rows 32 --cols 32 --isa mmx", /no instruction set "mmx"/],
    ["generate --format Q4_0 --rows 32 --cols 32 --isa avx2 --backend wasm", /avx2 is printed as C/],
  ];
  test.each(CASES)("qigen %s", async (line, message) => {
    const { code, stdout, stderr } = await cli(line.split(" "));
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^qigen: /);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("    at ");
  });
});

describe("files that are no models have exit code 1 and one line", () => {
  const html = join(folder, "model.gguf");
  writeFileSync(html, "<!DOCTYPE html><title>Log in</title>");
  const cases = [
    [join(folder, "absent.gguf"), /no such file or folder/],
    [folder, /is a folder, not a file/],
    [html, /this is not a GGUF file: it looks like a web page/],
  ] as const;
  const commands = ["run", "chat", "inspect", "explain", "tune", "bench"];
  const all = commands.flatMap((command) =>
    cases.map(([path, message]) => [command, path, message] as const),
  );

  test.each(all)("qigen %s %s", async (command, path, message) => {
    const { code, stdout, stderr } = await cli([command, path]);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^qigen: .*\n$/);
  });

  test("a prompt that cannot be read", async () => {
    const { code, stderr } = await cli(["run", "-f", join(folder, "absent.txt")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^qigen: .*absent\.txt: no such file or folder\n$/);
  });

  test("a prompt that is no text", async () => {
    const path = join(folder, "prompt.bin");
    writeFileSync(path, Uint8Array.of(0xff, 0xfe, 0));
    expect(await cli(["run", "-f", path])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: `qigen: ${path}: is not text in UTF-8\n`,
    });
  });

  test("a machine that cannot be read", async () => {
    const { code, stderr } = await cli(
      `generate --format Q4_0 --rows 32 --cols 32 --machine ${html}`.split(" "),
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^qigen: .*JSON: /);
  });
});

test("a model without chat template cannot chat, and is not loaded to find out", async () => {
  const path = await saveGguf(join(folder, "plain.gguf"), tinyLlama());
  const { code, stderr } = await cli(["chat", path], { stdin: "hello\n" });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^qigen: .*plain\.gguf has no chat template: .*\n$/);
});

test("output that the system refuses is no bug", async () => {
  const refuse = () => {
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };
  const stderr = new Collected();
  const stdout = Object.assign(new Collected(), { write: refuse });
  const io = { stdin: lines(), stdout, stderr, interrupts: new Interrupts() };
  expect(await runCli(["list"], io)).toBe(1);
  expect(stderr.text).toBe("qigen: the output: no space left on the device\n");
});

test("a bug shows where it is and asks for a report", () => {
  const stderr = new Collected();
  const io = { stdin: lines(), stdout: new Collected(), stderr, interrupts: new Interrupts() };
  expect(reportFailure(new TypeError("x is not a function"), io)).toBe(1);
  expect(stderr.text).toMatch(/^qigen: TypeError: x is not a function\n {4}at /);
  expect(stderr.text).toContain("Please report it");
});
