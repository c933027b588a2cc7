import { type Command, Option } from "commander";
import { AbortedError, UsageError } from "../base/errors.ts";
import type { Task } from "../evaluation/task.ts";
import { digits, durationText } from "../plan/text.ts";
import type { FailedRow, Report, ReportRow } from "../report/report.ts";
import { shownPath } from "../report/shown-path.ts";
import type { Sweep, SweepProgress } from "../report/sweep.ts";
import { SilentFailure } from "./failure.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { readLongText } from "./long-text.ts";
import { addExamples, count, wholeNumber } from "./options.ts";
import { bar, Status } from "./status.ts";

interface ReportFlags {
  readonly text: string;
  readonly calibration?: string;
  readonly bits: string;
  readonly groupSizes: string;
  readonly budgets: string;
  readonly method?: "rtn" | "gptq" | "both";
  readonly task?: readonly string[];
  readonly tokens: number;
  readonly context?: number;
  readonly samples: number;
  readonly repeat: number;
  readonly out: string;
  readonly resume?: boolean;
  readonly json?: boolean;
}

/** What the flags are when nothing is said. */
const DEFAULTS = {
  bits: "8,4,3,2",
  groupSizes: "32,128,-1",
  budgets: "4.25,3.25,2.5",
  tokens: 20_000,
  samples: 64,
  repeat: 5,
  out: "report",
} as const;

export function addReport(program: Command, io: Io): void {
  const command = program
    .command("report")
    .description(
      "The map of accuracy against speed: quantizes a model of floats in many settings and measures each: perplexity, " +
        "divergence, tasks, bytes, memory, tokens/s, and what the performance model predicted. Writes one HTML page, JSON, " +
        "CSV and a picture; they are complete after every setting, so that it may be interrupted, and resumed.",
    )
    .argument("<model>", "Hugging Face folder or GGUF file of floats, or hf:owner/name")
    .requiredOption(
      "-t, --text <file>",
      "text that perplexity is of, which the calibration text does not have",
    )
    .option("--calibration <file>", "text that GPTQ and the choice of bits per module adapt to")
    .option("--bits <list>", "numbers of bits", DEFAULTS.bits)
    .option("--group-sizes <list>", "weights that share a scale; -1 for a whole row", DEFAULTS.groupSizes)
    .option(
      "--budgets <list>",
      "bits per weight that modules share as it pays, with --calibration; none: without",
      DEFAULTS.budgets,
    )
    .addOption(
      new Option(
        "--method <name>",
        "rtn, gptq, or both (default: both with --calibration, else rtn)",
      ).choices(["rtn", "gptq", "both"]),
    )
    .option("--task <file...>", "tasks as for qigen eval")
    .option("--tokens <n>", "tokens of the text", count, DEFAULTS.tokens)
    .option("--context <n>", "tokens of a window (default: as trained, at most 512)", wholeNumber)
    .option("--samples <n>", "samples of the calibration text", count, DEFAULTS.samples)
    .option("--repeat <n>", "how often each test of speed is run", count, DEFAULTS.repeat)
    .option("-o, --out <name>", "writes <name>.html, .json, .csv and .svg", DEFAULTS.out)
    .option("--resume", "measure only what <name>.json has not")
    .option("--json", "the report as JSON on stdout, too");
  addExamples(command, [
    [
      "all settings",
      "qigen report model/ --text held-out.txt --calibration training.txt --task hellaswag_val.jsonl",
    ],
    ["some, without calibration", "qigen report model/ --text held-out.txt --bits 4,3 --group-sizes 64"],
  ]);
  command.action((model: string, flags: ReportFlags) => report(model, flags, io));
}

async function report(named: string, flags: ReportFlags, io: Io): Promise<void> {
  const { runSweep } = await import("../report/sweep.ts");
  const { findingsOf } = await import("../report/findings.ts");
  await requireFolder(flags.out);
  const { sweep, parameters } = await sweepOf(named, flags, io);
  const known = flags.resume ? await knownReport(`${flags.out}.json`) : undefined;
  const status = new Status(io.stderr, "the model as it is");
  let last: Report | undefined;
  try {
    const result = await runSweep(sweep, {
      command: commandLine(sweep.name, flags),
      parameters,
      known,
      onProgress: (progress) => status.show(() => progressText(progress)),
      onRow: async (sofar, row) => {
        last = sofar;
        await save(sofar, flags.out);
        status.note(rowText(row));
      },
      signal: io.interrupts.signal,
    });
    status.done();
    await save(result, flags.out);
    if (flags.json) await writeJson(io, result);
    else await write(io.stdout, `${[...findingsOf(result), filesText(flags.out)].join("\n")}\n`);
    if (result.rows.length === 1 && result.failures.length > 0) throw new SilentFailure();
  } catch (error) {
    if (error instanceof AbortedError && last !== undefined) {
      const done = last.rows.length + last.failures.length;
      status.note(`stopped: ${done} of ${last.planned} settings, which are in ${filesText(flags.out)}`);
    }
    throw error;
  } finally {
    status.done();
  }
}

/** Finds out that nothing can be written before the sweep, not after its first setting. Throws `FileAccessError`. */
async function requireFolder(out: string): Promise<void> {
  const [{ access, constants }, { dirname }, { attempt }] = await Promise.all([
    import("node:fs/promises"),
    import("node:path"),
    import("../host/node-files.ts"),
  ]);
  const folder = dirname(out);
  await attempt(folder, () => access(folder, constants.W_OK));
}

/** What the flags mean for this model. */
async function sweepOf(
  named: string,
  flags: ReportFlags,
  io: Io,
): Promise<{ readonly sweep: Sweep; readonly parameters: number }> {
  const [{ settingsOf }, { isHubReference }, { openModel }] = await Promise.all([
    import("../report/setting.ts"),
    import("../hub/reference.ts"),
    import("../engine/load-model.ts"),
  ]);
  const { calibration, samples, repeat } = flags;
  const settings = settingsOf(
    wholeNumbers("--bits", flags.bits),
    wholeNumbers("--group-sizes", flags.groupSizes),
    methodsOf(flags),
    calibration === undefined || flags.budgets === "none" ? [] : numbers("--budgets", flags.budgets),
  );
  const [text, tasks] = [await readLongText(flags.text), await readTasks(flags.task ?? [])];
  const model = await localModel(named, io);
  const opened = await openModel(model, (line) => io.stderr.write(`${line}\n`));
  await opened.close();
  const tokenizer = opened.tokenizer();
  const context = flags.context ?? Math.min(512, opened.spec.config.contextLength);
  if (calibration !== undefined) {
    const { calibrationTexts } = await import("../quantize/calibration.ts");
    const { signal } = io.interrupts;
    await calibrationTexts(tokenizer, { file: calibration, samples, context, signal });
  }
  const sizes = [...opened.file.tensors.values()].map(({ shape }) =>
    shape.reduce((product, extent) => product * extent, 1),
  );
  const sweep = {
    model,
    name: isHubReference(named) ? named : shownPath(named),
    settings,
    calibration,
    samples,
    text,
    textFile: flags.text,
    context,
    bos: tokenizer.addsBos,
    windows: Math.max(1, Math.floor(flags.tokens / context)),
    tasks,
    promptTokens: context,
    genTokens: Math.min(64, context),
    repeat,
  };
  return { sweep, parameters: sizes.reduce((sum, size) => sum + size, 0) };
}

/** What was measured before, if anything was. */
async function knownReport(path: string): Promise<Report | undefined> {
  const [{ existsSync }, { readReport }] = await Promise.all([
    import("node:fs"),
    import("../report/read-report.ts"),
  ]);
  return existsSync(path) ? readReport(path) : undefined;
}

async function readTasks(files: readonly string[]): Promise<Map<string, Task>> {
  const { parseTask } = await import("../evaluation/parse-task.ts");
  const { basename } = await import("node:path");
  const tasks = new Map<string, Task>();
  for (const file of files) {
    tasks.set(basename(file).replace(/\.jsonl?$/, ""), parseTask(file, await readLongText(file)));
  }
  return tasks;
}

async function save(report: Report, out: string): Promise<void> {
  const [{ reportPage }, { reportPicture }, { reportCsv }, { writeFileAtomically }] = await Promise.all([
    import("../report/page.ts"),
    import("../report/picture.ts"),
    import("../report/table.ts"),
    import("../host/node-files.ts"),
  ]);
  const texts = {
    html: reportPage(report),
    json: `${JSON.stringify(report, null, 1)}\n`,
    csv: reportCsv(report),
    svg: reportPicture(report),
  };
  for (const [ending, content] of Object.entries(texts)) {
    const bytes = new TextEncoder().encode(content);
    await writeFileAtomically(`${out}.${ending}`, (write) => write(bytes));
  }
}

function filesText(out: string): string {
  return `${out}.html, .json, .csv, .svg`;
}

function numbers(name: string, list: string): number[] {
  const values = list.split(",").map((word) => (word.trim() === "" ? Number.NaN : Number(word)));
  if (!values.every(Number.isFinite)) throw new UsageError(`${name} is a list of numbers, not ${list}`);
  return [...new Set(values)];
}

function wholeNumbers(name: string, list: string): number[] {
  const values = numbers(name, list);
  if (values.every(Number.isInteger)) return values;
  throw new UsageError(`${name} is a list of whole numbers such as 4,3, not ${list}`);
}

function methodsOf({ method, calibration }: ReportFlags): readonly ("rtn" | "gptq")[] {
  const chosen = method ?? (calibration === undefined ? "rtn" : "both");
  if (chosen !== "rtn" && calibration === undefined) {
    throw new UsageError("gptq needs a text that it adapts to: --calibration");
  }
  return chosen === "both" ? ["rtn", "gptq"] : [chosen];
}

function progressText({ done, total, setting, secondsLeft }: SweepProgress): string {
  const left = secondsLeft === undefined ? "" : `, ${durationText(secondsLeft)} left`;
  return `measuring ${bar(done / total)} ${done + 1} of ${total}: ${setting}${left}`;
}

/** What was found of a setting, in a line. */
function rowText(row: ReportRow | FailedRow): string {
  const name = (row.method === "none" ? row.setting : `${row.setting}, ${row.method}`).padEnd(18);
  if ("reason" in row) return `${name}  ${row.reason}`;
  const { bitsPerWeight, perplexity, decode, seconds } = row;
  return (
    `${name}  ${bitsPerWeight.toFixed(2).padStart(5)} bits per weight, perplexity ${perplexity.value.toFixed(2)}, ` +
    `decode ${digits(decode.measured)} tokens/s (${durationText(seconds)})`
  );
}

/** What was asked for, with the defaults that decide the result, and without the folders that only this machine has. */
function commandLine(model: string, flags: ReportFlags): string {
  const shown = (value: string | number) => (typeof value === "string" ? shownPath(value) : String(value));
  const flagName = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const { json: _json, out: _out, resume: _resume, ...deciding } = flags;
  const words = Object.entries(deciding).map(([name, value]) =>
    [flagName(name), ...[value].flat().map(shown)].join(" "),
  );
  return ["qigen report", model, ...words].join(" ");
}
