import { existsSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { AbortedError, MachineError, UsageError } from "../../src/base/errors.ts";
import type { RunCommand } from "../../src/report/command.ts";
import type { Evaluation, Evaluator } from "../../src/report/evaluator.ts";
import type { FailedRow, Report, ReportRow } from "../../src/report/report.ts";
import { settingsOf } from "../../src/report/setting.ts";
import { runSweep, type Sweep, type SweepProgress } from "../../src/report/sweep.ts";

const SWEEP: Sweep = {
  model: "/models/tales",
  name: "tales",
  settings: settingsOf([4], [32, -1], ["rtn", "gptq"], [2.5, 3.25]),
  text: "Once upon a time",
  textFile: "held-out.txt",
  context: 256,
  windows: 3,
  bos: true,
  tasks: new Map(),
  calibration: "/texts/calibration.txt",
  samples: 8,
  promptTokens: 256,
  genTokens: 64,
  repeat: 5,
};

const estimate = (value: number) => ({ value, error: value / 10 });

const EVALUATION: Evaluation = {
  perplexity: estimate(28),
  ratio: estimate(1.01),
  divergence: estimate(0.02),
  sameTop: 0.9,
  tasks: [],
  scored: 765,
  weights: 1000,
  predicted: { prefill: 2000, decode: 200 },
};

const speed = (median: number) => ({
  tokensPerSecond: { median, min: 0.9 * median, max: 1.1 * median },
});

/** Runs nothing: remembers the commands, leaves what `quantize` would, and fails where told to. */
class Fake {
  readonly commands: string[][] = [];
  readonly evaluated: string[] = [];
  readonly rows: (ReportRow | FailedRow)[] = [];
  readonly progress: SweepProgress[] = [];
  closed = false;

  constructor(private readonly fails: (args: readonly string[]) => Error | undefined = () => undefined) {}

  readonly run: RunCommand = async (args) => {
    this.commands.push([...args]);
    const error = this.fails(args);
    if (error !== undefined) throw error;
    if (args[0] === "quantize") writeFileSync(args[2] as string, "");
    return {
      prefill: speed(1000),
      decode: speed(100),
      memory: { weights: 700, projections: 500, peak: 9000 },
    };
  };

  readonly openEvaluator = async (): Promise<Evaluator> => ({
    evaluate: async (path) => {
      this.evaluated.push(path);
      return EVALUATION;
    },
    close: async () => {
      this.closed = true;
    },
  });

  sweep(sweep: Sweep = SWEEP, known?: Report) {
    return runSweep(
      sweep,
      {
        command: "qigen report tales",
        parameters: 1500,
        known,
        onRow: async (_, row) => {
          this.rows.push(row);
        },
        onProgress: (progress) => this.progress.push(progress),
      },
      this,
    );
  }
}

describe("a sweep", () => {
  test("quantizes, evaluates and times every setting, the model as it is first", async () => {
    const fake = new Fake();
    const report = await fake.sweep();
    expect(report.rows.map(({ setting, method }) => `${setting}, ${method}`)).toEqual([
      "as it is, none",
      "4 bits, g32, rtn",
      "4 bits, g32, gptq",
      "4 bits, row, rtn",
      "4 bits, row, gptq",
      "3.25 bpw, mixed",
      "2.5 bpw, mixed",
    ]);
    expect(report).toMatchObject({
      model: "tales",
      planned: 7,
      failures: [],
      parameters: { quantized: 1000 },
    });
    expect(report.rows[1]).toMatchObject({
      bits: 4,
      groupSize: 32,
      bitsPerWeight: 4,
      weightBytes: 700,
      peakBytes: 9000,
      decode: { measured: 100, slowest: 90, predicted: 200 },
    });
    expect(report.rows[5]).toMatchObject({ budget: 3.25, method: "mixed" });
    expect(fake.rows).toEqual(report.rows);
    expect(fake.closed).toBe(true);
  });

  test("gives each setting its flags, and shows its command without folders of this machine", async () => {
    const fake = new Fake();
    const report = await fake.sweep();
    const quantizing = fake.commands.filter(([name]) => name === "quantize");
    const flags = quantizing.map(([, model, path, ...rest]) => {
      expect([model, path]).toEqual(["/models/tales", fake.evaluated[1]]);
      return rest.join(" ").replace(/\S+(?=sensitivities\.json)/, "…/");
    });
    const text = "--calibration /texts/calibration.txt --samples 8 --context 256";
    expect(flags).toEqual([
      "--method rtn --bits 4 --group-size=32 --quiet",
      `--method gptq --bits 4 --group-size=32 ${text} --quiet`,
      "--method rtn --bits 4 --group-size=-1 --quiet",
      `--method gptq --bits 4 --group-size=-1 ${text} --quiet`,
      `--budget 3.25bpw ${text} --sensitivities …/sensitivities.json --quiet`,
      `--budget 2.5bpw ${text} --sensitivities …/sensitivities.json --quiet`,
    ]);
    expect(report.rows.map(({ command }) => command)).toContain(
      "qigen quantize tales OUT --budget 2.5bpw --calibration calibration.txt --samples 8 --context 256",
    );
    expect(JSON.stringify(report)).not.toMatch(/\/models|\/texts|\/tmp/);
    const timing = fake.commands.filter(([name]) => name === "bench");
    expect(timing).toHaveLength(7);
    expect(timing[0]?.slice(2).join(" ")).toBe(
      "--prompt-tokens 256 --gen-tokens 64 --repeat 5 --placement arena",
    );
  });

  test("goes on behind a setting that fails, which says why", async () => {
    const fake = new Fake((args) =>
      args.includes("--group-size=-1") ? new MachineError(`quantize: ${args[2]} is too small`) : undefined,
    );
    const report = await fake.sweep();
    expect(report.rows).toHaveLength(5);
    expect(report.failures).toMatchObject([
      { setting: "4 bits, row", method: "rtn", reason: "quantize: the quantized model is too small" },
      { setting: "4 bits, row", method: "gptq" },
    ]);
    expect(fake.rows).toHaveLength(7);
  });

  test.each([
    ["interrupted", new AbortedError()],
    ["a mistake of our own", new TypeError("no")],
  ])("ends where it is %s, and leaves nothing", async (_, error) => {
    const fake = new Fake((args) => (args.includes("gptq") ? error : undefined));
    await expect(fake.sweep()).rejects.toBe(error);
    expect(fake.rows).toHaveLength(2);
    expect(fake.closed).toBe(true);
    expect(existsSync(fake.commands.at(-1)?.[2] as string)).toBe(false);
  });

  test("goes on where an earlier one ended", async () => {
    const few = { ...SWEEP, settings: SWEEP.settings.slice(0, 2) };
    const known = await new Fake().sweep(few);
    const fake = new Fake();
    const report = await fake.sweep(SWEEP, known);
    expect(report.rows.slice(0, 3)).toEqual(known.rows);
    expect(report.rows).toHaveLength(7);
    expect(fake.commands.filter(([name]) => name === "quantize")).toHaveLength(4);
    expect(report).toMatchObject({ scored: 765, parameters: { quantized: 1000 } });
    const nothing = new Fake();
    expect((await nothing.sweep(SWEEP, report)).rows).toEqual(report.rows);
    expect(nothing.commands).toEqual([]);
    // Fewer settings are asked for: the others are left out.
    expect((await new Fake().sweep(few, report)).rows).toEqual(known.rows);
  });

  test("does not go on with one under other conditions", async () => {
    const known = await new Fake().sweep();
    await expect(new Fake().sweep({ ...SWEEP, context: 128 }, known)).rejects.toThrow(/another sweep/);
    await expect(new Fake().sweep({ ...SWEEP, name: "other" }, known)).rejects.toThrow(UsageError);
  });

  test("says how far it is, and what is left once it can be told", async () => {
    const fake = new Fake();
    await fake.sweep();
    expect(fake.progress.map(({ done, total }) => [done, total])).toEqual(
      Array.from({ length: 7 }, (_, i) => [i, 7]),
    );
    expect(fake.progress.map(({ secondsLeft }) => secondsLeft !== undefined)).toEqual([
      false,
      false,
      ...Array(5).fill(true),
    ]);
  });
});
