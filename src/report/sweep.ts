import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbortedError, QigenError } from "../base/errors.ts";
import type { Task } from "../evaluation/task.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { attempt } from "../host/node-files.ts";
import type { Machine } from "../plan/machine.ts";
import { commandRunner, type RunCommand } from "./command.ts";
import { conditionsOf, requireSame } from "./conditions.ts";
import { type Evaluator, type EvaluatorOptions, openEvaluator } from "./evaluator.ts";
import { measureModel, type SpeedTests } from "./measure.ts";
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
  /** Rows that are there already, of a sweep that ended early. */
  readonly known?: Report | undefined;
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
 * measuring the model as it is throws, `FileAccessError` where the system's folder for temporary files cannot be written,
 * `UsageError` for known rows of another sweep, and `AbortedError` when the signal fires.
 */
export async function runSweep(
  sweep: Sweep,
  options: SweepOptions,
  instruments: Instruments = { run: commandRunner(options.signal), openEvaluator },
): Promise<Report> {
  const machine = await describeMachine();
  const folder = await attempt(tmpdir(), () => mkdtemp(join(tmpdir(), "qigen-report-")));
  const running = new RunningSweep(sweep, options, machine, folder, instruments);
  try {
    return await running.finish();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const AS_IT_IS: RowSetting = { setting: "as it is", method: "none" };

class RunningSweep {
  private readonly started = performance.now();
  private readonly rows: ReportRow[] = [];
  private readonly failures: FailedRow[] = [];
  /** Weights of the projections, and tokens whose probability counts: known with the model as it is. */
  private whole = { quantized: 0, scored: 0 };

  constructor(
    private readonly sweep: Sweep,
    private readonly options: SweepOptions,
    private readonly machine: Machine,
    private readonly folder: string,
    private readonly instruments: Instruments,
  ) {}

  async finish(): Promise<Report> {
    const { sweep, machine, folder, instruments } = this;
    const { known, signal } = this.options;
    if (known !== undefined) this.take(known);
    const settings = sweep.settings.filter((setting) => !this.has(this.about(setting)));
    if (this.has(AS_IT_IS) && settings.length === 0) return this.report();
    this.progress(AS_IT_IS);
    const evaluator = await instruments.openEvaluator(sweep.model, { ...sweep, machine, folder, signal });
    try {
      if (!this.has(AS_IT_IS)) await this.add(AS_IT_IS, this.started, evaluator, sweep.model);
      const first = performance.now();
      for (const [i, setting] of settings.entries()) {
        const pace = i === 0 ? undefined : (performance.now() - first) / 1000 / i;
        this.progress(this.about(setting), pace && pace * (settings.length - i));
        await this.addSetting(evaluator, setting);
      }
      return this.report();
    } finally {
      await evaluator.close();
    }
  }

  /** What an earlier sweep measured under the same conditions need not be measured again. */
  private take(known: Report): void {
    const { parameters, scored, rows } = known;
    requireSame(known, conditionsOf(this.sweep, this.machine, scored));
    this.rows.push(...rows.filter((row) => this.place(row) >= 0));
    this.whole = { quantized: parameters.quantized, scored };
  }

  /** Where a row stands in the order of the settings. */
  private place(about: RowSetting): number {
    const all = [AS_IT_IS, ...this.sweep.settings.map((setting) => this.about(setting))];
    return all.map(nameOf).indexOf(nameOf(about));
  }

  private has(about: RowSetting): boolean {
    return this.rows.some((row) => nameOf(row) === nameOf(about));
  }

  private async addSetting(evaluator: Evaluator, setting: Setting): Promise<void> {
    const path = join(this.folder, "model");
    const about = this.about(setting);
    const started = performance.now();
    try {
      const command = this.quantizeCommand(this.sweep.model, path, setting);
      await this.instruments.run([...command, ...this.shared(setting), "--quiet"]);
      await this.add(about, started, evaluator, path);
    } catch (error) {
      if (!(error instanceof QigenError) || error instanceof AbortedError) throw error;
      const row = { ...about, reason: error.message.replaceAll(path, "the quantized model") };
      this.failures.push(row);
      await this.options.onRow?.(this.report(), row);
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  }

  /** Budgets measure what matrices may cost once for all. */
  private shared({ method }: Setting): string[] {
    return method === "mixed" ? ["--sensitivities", join(this.folder, "sensitivities.json")] : [];
  }

  private async add(about: RowSetting, started: number, evaluator: Evaluator, path: string): Promise<void> {
    const evaluation = await evaluator.evaluate(path);
    const measured = await measureModel(this.instruments.run, path, evaluation, this.sweep);
    const row = { ...about, ...measured, seconds: (performance.now() - started) / 1000 };
    this.rows.push(row);
    if (about === AS_IT_IS) {
      this.whole = { quantized: evaluation.weights, scored: evaluation.scored };
    }
    await this.options.onRow?.(this.report(), row);
  }

  private progress(about: RowSetting, secondsLeft?: number): void {
    const done = this.rows.length + this.failures.length;
    const total = 1 + this.sweep.settings.length;
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
    const { command, parameters, known } = this.options;
    return {
      ...conditionsOf(sweep, machine, whole.scored),
      created: new Date().toISOString().slice(0, 10),
      command,
      parameters: { all: parameters, quantized: whole.quantized },
      scored: whole.scored,
      planned: 1 + sweep.settings.length,
      seconds: (known?.seconds ?? 0) + (performance.now() - this.started) / 1000,
      rows: [...rows].sort((a, b) => this.place(a) - this.place(b)),
      failures: [...failures],
    };
  }
}
