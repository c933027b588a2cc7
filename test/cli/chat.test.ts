import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CHAT_TEMPLATE, cli, lines, saveGguf, temporaryFolder, tinyLlama } from "./harness.ts";

const folder = temporaryFolder();
const model = join(folder, "chat.gguf");
const FIXED = ["--backend", "wasm", "--seed", "3", "-n", "6"];

beforeAll(async () => {
  await saveGguf(model, tinyLlama({ "tokenizer.chat_template": CHAT_TEMPLATE }));
});

const chat = (stdin: string, more: readonly string[] = []) =>
  cli(["chat", model, ...FIXED, ...more], { stdin });

describe("turns from standard input", () => {
  test("one answer a line, and the end of input ends it", async () => {
    const one = await chat("bada\n");
    expect(one.code).toBe(0);
    expect(one.stdout.endsWith("\n")).toBe(true);
    expect(one.stderr).toMatch(/^running on .*\n$/);
    const two = await chat("bada\n\nbado");
    expect(two.stdout.startsWith(one.stdout)).toBe(true);
    expect(two.stdout.length).toBeGreaterThan(one.stdout.length);
  });

  test("the conversation is remembered until /reset; /exit ends", async () => {
    const [first, second] = [await chat("bada\n"), await chat("bado\n")];
    const reset = await chat("bada\n/reset\nbado\n/exit\nbada\n");
    expect(reset.stdout).toBe(first.stdout + second.stdout);
    const remembered = await chat("bada\nbado\n", ["--timings"]);
    expect(remembered.stderr).toMatch(/more from the cache/);
    expect(remembered.stdout).not.toBe(reset.stdout);
  });

  test("a system message comes first", async () => {
    const plain = await chat("bada\n", ["--timings"]);
    const told = await chat("bada\n", ["--timings", "--system", "be brief"]);
    const tokens = (text: string) => Number(/^prompt +(\d+)/m.exec(text)?.[1]);
    expect(tokens(told.stderr)).toBeGreaterThan(tokens(plain.stderr));
  });

  test("a conversation that outgrows the context is an error", async () => {
    const { code, stderr } = await chat(`${"bada ".repeat(80)}\n`);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^qigen: the prompt has \d+ tokens, the context holds 96/m);
  });
});

describe("Ctrl-C", () => {
  test("stops an answer, which stays as far as it came, and the conversation goes on", async () => {
    const stdin = lines();
    stdin.write("bada\n");
    let interrupted = false;
    const result = await cli(["chat", model, "--backend", "wasm", "--seed", "3"], {
      stdin,
      onStdout: (_, interrupts) => {
        if (interrupted) return;
        interrupted = interrupts.fire();
        stdin.end("/exit\n");
      },
    });
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(/\(stopped\)\n$/);
  });

  test("twice ends it", async () => {
    const stdin = lines();
    stdin.write("bada\n");
    const result = await cli(["chat", model, "--backend", "wasm"], {
      stdin,
      onStdout: (_, interrupts) => {
        interrupts.fire();
        interrupts.fire();
      },
    });
    expect(result.code).toBe(130);
    expect(result.stderr).toMatch(/^running on .*\n$/);
  });
});
