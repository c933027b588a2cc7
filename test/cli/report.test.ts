import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Interrupts } from "../../src/cli/io.ts";
import { randomLlama } from "../../src/models/random-llama.ts";
import type { Report } from "../../src/report/report.ts";
import { cli, saveGguf, temporaryFolder } from "./harness.ts";

// Settings are measured by the built command line.
const built = existsSync(fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url)));
const folder = temporaryFolder();
const model = join(folder, "tiny.gguf");
const text = join(folder, "text.txt");
const task = join(folder, "words.jsonl");
const out = join(folder, "map");
const FEW = ["--bits", "8,2", "--group-sizes", "32", "--context", "16", "--tokens", "64", "--out", out];

const sweeps = () => readdirSync(tmpdir()).filter((name) => name.startsWith("qigen-report-"));

beforeAll(async () => {
  // A plan may have tiles of 64 rows, which these matrices fill: padding counts in the bits per weight.
  const shape = { layers: 1, hiddenSize: 128, intermediateSize: 192, heads: 2, kvHeads: 1 };
  await saveGguf(model, randomLlama({ ...shape, vocabularySize: 300, contextLength: 96, format: "F32" }));
  writeFileSync(text, "bada gigi lo nu ".repeat(30));
  writeFileSync(task, '{"text":"bada gigi lo"}\n{"text":"lo nu bada"}\n');
});

describe("report", () => {
  beforeEach((context) => context.skip(!built, "not built: npm run build"));

  test("measures every setting, and writes a page, JSON and CSV", async () => {
    const before = sweeps();
    const { code, stdout, stderr } = await cli(["report", model, "--text", text, "--task", task, ...FEW]);
    expect(stderr.trim().split("\n")).toHaveLength(3);
    expect(stderr).toMatch(
      /^2 bits, g32, rtn +2\.75 bits per weight, perplexity [\d.]+, decode \d+ tokens\/s/m,
    );
    expect(code).toBe(0);
    expect(stdout).toContain(`${out}.html, .json, .csv, .svg\n`);
    const { rows, parameters, command, protocol } = JSON.parse(readFileSync(`${out}.json`, "utf8")) as Report;
    expect(rows.map(({ setting, method }) => [setting, method])).toEqual([
      ["as it is", "none"],
      ["8 bits, g32", "rtn"],
      ["2 bits, g32", "rtn"],
    ]);
    const [full, eight, two] = rows as [Report["rows"][0], Report["rows"][0], Report["rows"][0]];
    // 32 bits; 8 or 2 with an f16 scale and a zero point of 8 bits to 32 weights.
    expect(full.bitsPerWeight).toBe(32);
    expect(eight.bitsPerWeight).toBeCloseTo(8.75, 9);
    expect(two.bitsPerWeight).toBeCloseTo(2.75, 9);
    expect(full.projectionBytes).toBe(4 * parameters.quantized);
    expect(two.divergence.value).toBeGreaterThan(10 * eight.divergence.value);
    for (const { decode, prefill, peakBytes, weightBytes, tasks } of rows) {
      for (const speed of [decode, prefill]) {
        expect(speed.measured).toBeGreaterThan(0);
        expect(speed.predicted).toBeGreaterThan(0);
      }
      expect(peakBytes).toBeGreaterThan(weightBytes);
      expect(tasks).toMatchObject([{ task: "words" }]);
    }
    expect(command).toMatch(/^qigen report tiny\.gguf .*--text text\.txt --task words\.jsonl/);
    expect(protocol.join()).not.toContain(folder);
    expect(readFileSync(`${out}.csv`, "utf8").split("\r\n")).toHaveLength(5);
    expect(readFileSync(`${out}.svg`, "utf8")).toContain("perplexity above the model's own");
    expect(readFileSync(`${out}.html`, "utf8")).toContain("2 bits, g32, rtn");
    expect(sweeps()).toEqual(before);
  }, 300_000);

  test("interrupted, it leaves what was measured so far, and no temporary files", async () => {
    const before = sweeps();
    const interrupts = new Interrupts();
    const sofar = join(folder, "sofar");
    const watching = setInterval(() => {
      if (existsSync(`${sofar}.svg`)) interrupts.fire();
    }, 10);
    const { code, stderr } = await cli(["report", model, "--text", text, ...FEW, "--out", sofar], {
      interrupts,
    });
    clearInterval(watching);
    expect(code).toBe(130);
    expect(stderr).toMatch(/stopped: [12] of 3 settings, which are in .*sofar\.html/);
    expect(readFileSync(`${sofar}.html`, "utf8")).toContain("The sweep is not finished");
    expect(sweeps()).toEqual(before);
    const rest = await cli(["report", model, "--text", text, ...FEW, "--out", sofar, "--resume", "--json"]);
    expect(rest.stderr.trim().split("\n")).toHaveLength(3 - Number(/stopped: (\d)/.exec(stderr)?.[1]));
    expect((JSON.parse(rest.stdout) as Report).rows).toHaveLength(3);
    writeFileSync(`${sofar}.json`, "{}");
    const damaged = await cli(["report", model, "--text", text, ...FEW, "--out", sofar, "--resume"]);
    expect(damaged).toMatchObject({ code: 1, stderr: expect.stringContaining("sofar.json") });
  }, 300_000);

  test("a setting that cannot be made is a row with its reason", async () => {
    const flags = [...FEW, "--bits", "7,2"];
    const { code, stdout, stderr } = await cli(["report", model, "--text", text, ...flags, "--json"]);
    expect(code).toBe(0);
    const { rows, failures } = JSON.parse(stdout) as Report;
    expect(rows).toHaveLength(2);
    expect(failures).toMatchObject([
      { setting: "7 bits, g32", reason: expect.stringContaining("bits must be") },
    ]);
    expect(stderr).toContain("bits must be");
    expect(readFileSync(`${out}.html`, "utf8")).toContain("bits must be");
  }, 300_000);

  test("if none can be made, it has failed", async () => {
    const { code, stdout } = await cli(["report", model, "--text", text, ...FEW, "--bits", "7"]);
    expect(code).toBe(1);
    expect(stdout).toContain("No setting has been measured yet");
  }, 300_000);

  test("what a command says of a mistake is told", async () => {
    const { code, stderr } = await cli(["report", model, "--text", join(folder, "absent"), ...FEW]);
    expect(code).toBe(1);
    expect(stderr).toContain("absent");
  }, 60_000);
});

test.each([
  [["--calibration", join(folder, "absent.txt")], 1, "absent.txt: no such file"],
  [["--calibration", text, "--samples", "1000"], 2, "1000 samples of 16 need"],
  [["--out", join(folder, "absent", "map")], 1, "absent: no such file or folder"],
] as const)("%j is found out before anything is measured", async (flags, wanted, message) => {
  const { code, stderr } = await cli(["report", model, "--text", text, ...FEW, ...flags]);
  expect(code).toBe(wanted);
  expect(stderr).toMatch(/^qigen: .*\n$/);
  expect(stderr).toContain(message);
});

test.each([
  [["--bits", "4,x"], "--bits is a list of numbers"],
  [["--bits", "3.5"], "--bits is a list of whole numbers"],
  [["--method", "gptq"], "--calibration"],
  [["--calibration", text, "--budgets", "low"], "--budgets is a list of numbers"],
])("%j is wrong usage", async (flags, message) => {
  const { code, stderr } = await cli(["report", model, "--text", text, ...flags]);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
