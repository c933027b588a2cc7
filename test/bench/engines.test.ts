import { describe, expect, test } from "vitest";
import { runChild } from "../../bench/compare/child.mjs";
import { llamaBench, nodeLlamaCpp, parseLlamaBench, qigen } from "../../bench/compare/engines.mjs";
import { parseOptions } from "../../bench/compare/options.mjs";
import { run } from "./comparison.ts";

const SIZES = { promptTokens: 512, genTokens: 64, repeat: 2 };
const CASE = { shape: "llama-2-7b", format: "Q4_0", threads: 2, depth: 2048 };
const FLAGS = "--threads 2 --depth 2048 --prompt-tokens 512 --gen-tokens 64 --repeat 2";

describe("command lines", () => {
  const lines = (invocations: { command: string[] }[]) => invocations.map(({ command }) => command.join(" "));

  test("ours, of a file or of a shape", () => {
    const engine = qigen({ ...SIZES, isa: "avx2" });
    expect(lines(engine.invocations(CASE, "m.gguf", []))).toEqual([
      `node bin/qigen.js bench m.gguf ${FLAGS} --isa avx2 --json`,
    ]);
    expect(lines(qigen(SIZES).invocations({ ...CASE, format: "3bit-g128" }, undefined, []))).toEqual([
      `node bin/qigen.js bench --synthetic llama-2-7b --format 3bit-g128 ${FLAGS} --json`,
    ]);
  });

  test("peers have nothing to do without a file", () => {
    expect(lines(nodeLlamaCpp(SIZES).invocations(CASE, "m.gguf", []))).toEqual([
      `node bench/peer.mjs m.gguf ${FLAGS}`,
    ]);
    expect(nodeLlamaCpp(SIZES).invocations(CASE, undefined, [])).toEqual([]);
    expect(llamaBench({ ...SIZES, program: "lb" }).invocations(CASE, undefined, [])).toEqual([]);
  });

  test("llama-bench tries its settings, then takes the best for each test", () => {
    const engine = llamaBench({ ...SIZES, program: "lb" });
    const fixed = "lb -m m.gguf -d 2048 -t 2 -r 2";
    const first = engine.invocations(CASE, "m.gguf", []);
    expect(lines(first)).toEqual(
      ["-fa 0 -mmp 0", "-fa 0 -mmp 1", "-fa 1 -mmp 0", "-fa 1 -mmp 1"].map(
        (settings) => `${fixed} -p 512 -n 64 ${settings} -o json`,
      ),
    );
    const tried = (prefill: number, decode: number, settings: string) =>
      run("llama-bench", [prefill], [decode], { settings });
    const round = { runs: [tried(2, 1, "-fa 0 -mmp 0"), tried(1, 2, "-fa 1 -mmp 0")] };
    expect(lines(engine.invocations(CASE, "m.gguf", [round]))).toEqual([
      `${fixed} -p 512 -n 0 -fa 0 -mmp 0 -o json`,
      `${fixed} -p 0 -n 64 -fa 1 -mmp 0 -o json`,
    ]);
    const same = { runs: [tried(2, 2, "-fa 1 -mmp 1")] };
    expect(lines(engine.invocations(CASE, "m.gguf", [same]))).toEqual([
      `${fixed} -p 512 -n 64 -fa 1 -mmp 1 -o json`,
    ]);
  });
});

describe("reports", () => {
  test("ours", () => {
    const report = {
      prefill: { tokens: 512, seconds: [4, 2], gops: 300, tokensPerSecond: { median: 150 } },
      decode: { tokens: 64, seconds: [2, 1], bytesPerToken: { weights: 500, kvCache: 20 } },
    };
    expect(qigen(SIZES).parse(JSON.stringify(report))).toEqual({
      tokensPerSecond: { prefill: [128, 256], decode: [32, 64] },
      work: { bytesPerToken: 520, operationsPerToken: 2e9 },
      report,
    });
  });

  test("llama-bench's", () => {
    const entry = (n_prompt: number, n_gen: number, samples_ts: number[]) => ({
      build_commit: "80fb11a",
      n_prompt,
      n_gen,
      samples_ts,
    });
    const both = JSON.stringify([entry(512, 0, [70, 71]), entry(0, 64, [30, 31])]);
    expect(parseLlamaBench(both)).toMatchObject({
      tokensPerSecond: { prefill: [70, 71], decode: [30, 31] },
      version: "80fb11a",
    });
    expect(parseLlamaBench(JSON.stringify([entry(0, 64, [30])])).tokensPerSecond).toEqual({ decode: [30] });
    expect(() => parseLlamaBench("ggml: error")).toThrow(SyntaxError);
  });
});

describe("options", () => {
  const here = { cwd: "/home", root: "/project", threads: 4 };

  test("defaults, and those of --quick, which others override", () => {
    expect(parseOptions([], here)).toMatchObject({
      shapes: ["tinyllama-1.1b", "llama-2-7b"],
      threads: [1, 4],
      depths: [0, 2048],
      rounds: 3,
      promptTokens: 512,
      prefix: [],
      models: "/project/bench/results/models",
      nodeLlamaCpp: false,
    });
    expect(parseOptions([], { ...here, threads: 1 }).threads).toEqual([1]);
    const quick = parseOptions(["--quick", "--rounds", "4", "--prefix", "taskset -c 0,1"], here);
    expect(quick).toMatchObject({ threads: [4], depths: [0], rounds: 4, prefix: ["taskset", "-c", "0,1"] });
    expect(parseOptions(["--out", "there", "--llama-bench", "lb"], here)).toMatchObject({
      out: "/home/there",
      llamaBench: "/home/lb",
    });
  });

  test.each([
    ["--rounds", "0"],
    ["--rounds", "many"],
    ["--threads", "1,,2"],
    ["--depths", "-1"],
    ["--frobnicate"],
    ["--isa"],
  ])("rejects %s %s", (...args) => {
    expect(() => parseOptions(args, here)).toThrow(/\S/);
  });
});

describe("programs", () => {
  const options = { cwd: ".", signal: new AbortController().signal };
  const script = (code: string) => ["node", "-e", code];

  test("what they print, or how they fail", async () => {
    expect((await runChild(script("console.log('42')"), options)).stdout).toBe("42\n");
    const failing = script("console.error('line 1\\nline 2'); process.exit(3)");
    await expect(runChild(failing, options)).rejects.toThrow("exit code 3: line 1; line 2");
    await expect(runChild(["no-such-program"], options)).rejects.toThrow("ENOENT");
    const killed = script("process.kill(process.pid, 'SIGKILL')");
    await expect(runChild(killed, options)).rejects.toThrow("ended by SIGKILL");
  });

  test("an interrupt ends them and what they started", async () => {
    const interrupt = new AbortController();
    // The grandchild holds stdout open: that the call ends means that it is gone.
    const parent =
      "require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {stdio: 'inherit'});" +
      "setInterval(() => {}, 1000)";
    const running = runChild(script(parent), { cwd: ".", signal: interrupt.signal });
    setTimeout(() => interrupt.abort(), 500);
    await expect(running).rejects.toThrow("abort");
    await expect(runChild(script("1"), { cwd: ".", signal: interrupt.signal })).rejects.toThrow("abort");
  });
});
