import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbortedError, QigenError } from "../base/errors.ts";
import type { Task } from "../evaluation/task.ts";
import { describeMachine } from "../host/describe-machine.ts";
import type { Machine } from "../plan/machine.ts";
import { commandRunner, type RunCommand } from "./command.ts";
import { type Evaluator, type EvaluatorOptions, openEvaluator } from "./evaluator.ts";
import { type Measured, measureModel, type SpeedTests } from "./measure.ts";
import { type FailedRow, nameOf, type Report, type ReportRow, type RowSetting } from "./report.ts";
import { quantizeFlags, type Setting, settingName } from "./setting.ts";
import { shownPath } from "./shown-path.ts";

/** A sweep over settings of one model. */
export interface Sweep extends SpeedTests {
  /** A model of floats: a Hugging Face folder or a GGUF file. */
  readonly model: string;
  /** What a reader should see of it. */
  readonly name: string;
  readonly settings: readonly Setting[];
  /** Text that perplexity is of, and its file. */
  readonly text: string;
  readonly textFile: string;
  /** Tokens of a window, and how many windows there are; whether every window is led by the start token. */
  readonly context: number;
  readonly windows: number;
  readonly bos: boolean;
  /** By name. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Text that weights are adapted to, and how many samples of it; not there if all are rounded to nearest. */
  readonly calibration?: string | undefined;
  readonly samples: number;
}

export interface SweepProgress {
  /** Rows that are over, the model as it is among them. */
  readonly done: number;
  readonly total: number;
  /** What is measured now. */
  readonly setting: string;
  /** What the rest takes at the pace so far; not there before the first setting is done. */
  readonly secondsLeft?: number | undefined;
}

export interface SweepOptions {
  /** As typed, for the report. */
  readonly command: string;
  /** Parameters of the model. */
  readonly parameters: number;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
  /** Called with what is known after every row, and with the row. */
  readonly onRow?: ((report: Report, row: ReportRow | FailedRow) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a sweep measures with. */
export interface Instruments {
  readonly run: RunCommand;
  openEvaluator(base: string, options: EvaluatorOptions): Promise<Evaluator>;
}

/**
 * Quantizes a model in every setting, one after the other, and measures each: accuracy, memory, speed. Quantized models are
 * in a temporary folder, one at a time. A setting that cannot be made or measured becomes a row that says why. Throws what
 * measuring the model as it is throws, and `AbortedError` when the signal fires.
 */
export async function runSweep(
  sweep: Sweep,
  options: SweepOptions,
  instruments: Instruments = { run: commandRunner(options.signal), openEvaluator },
): Promise<Report> {
  const machine = await describeMachine();
  const folder = await mkdtemp(join(tmpdir(), "qigen-report-"));
  const running = new RunningSweep(sweep, options, machine, folder, instruments);
  try {
    return await running.finish();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the model as it is says of the whole. */
interface Whole {
  readonly quantized: number;
  readonly scored: number;
}

class RunningSweep {
  private readonly started = performance.now();
  private readonly rows: ReportRow[] = [];
  private readonly failures: FailedRow[] = [];
  private whole: Whole = { quantized: 0, scored: 0 };

  constructor(
    private readonly sweep: Sweep,
    private readonly options: SweepOptions,
    private readonly machine: Machine,
    private readonly folder: string,
    private readonly instruments: Instruments,
  ) {}

  async finish(): Promise<Report> {
    const { model, settings } = this.sweep;
    const { machine, folder, sweep } = this;
    const { signal } = this.options;
    const full: RowSetting = { setting: "as it is", method: "none" };
    this.progress(full);
    const evaluator = await this.instruments.openEvaluator(model, { ...sweep, machine, folder, signal });
    try {
      await this.add(full, this.started, await this.measure(evaluator, model));
      const firstSetting = performance.now();
      for (const setting of settings) await this.addSetting(evaluator, setting, firstSetting);
      return this.report();
    } finally {
      await evaluator.close();
    }
  }

  private async addSetting(evaluator: Evaluator, setting: Setting, first: number): Promise<void> {
    const path = join(this.folder, "model");
    const about = this.about(setting);
    const started = performance.now();
    this.progress(about, first);
    try {
      await this.instruments.run([...this.quantizeCommand(this.sweep.model, path, setting), "--quiet"]);
      await this.add(about, started, await this.measure(evaluator, path));
    } catch (error) {
      if (!(error instanceof QigenError) || error instanceof AbortedError) throw error;
      await this.fail({ ...about, reason: error.message.replaceAll(path, "the quantized model") });
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  }

  private async measure(evaluator: Evaluator, path: string): Promise<Measured> {
    const evaluation = await evaluator.evaluate(path);
    if (this.rows.length === 0) {
      this.whole = { quantized: evaluation.projections.weights, scored: evaluation.scored };
    }
    return measureModel(this.instruments.run, path, evaluation, this.sweep);
  }

  private async add(about: RowSetting, started: number, measured: Measured): Promise<void> {
    const row = { ...about, ...measured, seconds: (performance.now() - started) / 1000 };
    this.rows.push(row);
    await this.options.onRow?.(this.report(), row);
  }

  private async fail(row: FailedRow): Promise<void> {
    this.failures.push(row);
    await this.options.onRow?.(this.report(), row);
  }

  private progress(about: RowSetting, first?: number): void {
    const done = this.rows.length + this.failures.length;
    const total = 1 + this.sweep.settings.length;
    const perSetting =
      first === undefined || done < 2 ? undefined : (performance.now() - first) / 1000 / (done - 1);
    const secondsLeft = perSetting === undefined ? undefined : perSetting * (total - done);
    this.options.onProgress?.({ done, total, setting: nameOf(about), secondsLeft });
  }

  private about(setting: Setting): RowSetting {
    const { method, ...numbers } = setting;
    const { name, calibration } = this.sweep;
    const command = this.quantizeCommand(name, "OUT", setting, calibration && shownPath(calibration));
    return {
      setting: settingName(setting),
      method,
      ...numbers,
      command: ["qigen", ...command].join(" "),
    };
  }

  private quantizeCommand(
    model: string,
    path: string,
    setting: Setting,
    calibration = this.sweep.calibration,
  ): string[] {
    const { samples, context } = this.sweep;
    const text =
      setting.method !== "rtn" && calibration !== undefined
        ? ["--calibration", calibration, "--samples", String(samples), "--context", String(context)]
        : [];
    return ["quantize", model, path, ...quantizeFlags(setting), ...text];
  }

  private report(): Report {
    const { sweep, machine, rows, failures, whole } = this;
    const { command, parameters } = this.options;
    return {
      model: sweep.name,
      created: new Date().toISOString().slice(0, 10),
      command,
      machine: machineLines(sweep, machine),
      protocol: protocolLines(sweep, whole.scored),
      parameters: { all: parameters, quantized: whole.quantized },
      planned: 1 + sweep.settings.length,
      seconds: (performance.now() - this.started) / 1000,
      rows: [...rows],
      failures: [...failures],
    };
  }
}

function machineLines({ repeat, promptTokens, genTokens }: Sweep, machine: Machine): string[] {
  const threads = `${machine.threads} thread${machine.threads === 1 ? "" : "s"}`;
  return [
    `Machine: ${machine.name}, ${threads}.`,
    `Speed: medians of ${repeat} runs with random tokens, prefill of ${promptTokens} and decode of ${genTokens}, in a ` +
      "process of its own, whose peak memory it is. Predictions are of the projections alone.",
  ];
}

function protocolLines(sweep: Sweep, scored: number): string[] {
  const { textFile, context, bos, calibration, samples, tasks } = sweep;
  const led = bos ? ", each led by the start token" : "";
  return [
    `Perplexity: ${shownPath(textFile)}, windows of ${context} tokens side by side${led}; ${scored} tokens count. ` +
      "Beside the predictions of the model as it is with f32 activations and cache, on the same tokens: quantized models " +
      "have int8 activations and an f16 cache.",
    ...(calibration === undefined
      ? []
      : [`Calibration: ${samples} samples of ${context} tokens of ${shownPath(calibration)}.`]),
    ...[...tasks].map(
      ([name, { items, kind }]) =>
        `Task ${name}: ${items.length} items, ${kind === "choice" ? "the likeliest ending" : "the last word"}.`,
    ),
    "± is a standard error.",
  ];
}
