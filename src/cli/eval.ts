import type { Command } from "commander";
import type { Model } from "../api/model.ts";
import { AbortedError } from "../base/errors.ts";
import type { TaskProgress, TaskResult } from "../evaluation/run-task.ts";
import type { Estimate } from "../evaluation/statistics.ts";
import type { Task } from "../evaluation/task.ts";
import { digits, secondsText } from "../plan/text.ts";
import { columns, formatCount } from "./format.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { loadForUser } from "./load.ts";
import { readLongText } from "./long-text.ts";
import { addEngineOptions, addExamples, type EngineFlags, wholeNumber } from "./options.ts";
import { Pace } from "./pace.ts";
import { estimateText } from "./perplexity-text.ts";
import { bar, Status } from "./status.ts";

interface EvalFlags extends EngineFlags {
  readonly task: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addEval(program: Command, io: Io): void {
  const command = program
    .command("eval")
    .description(
      "How well a model answers: which of several endings it finds the likeliest, or how it ends a text. The items are JSON " +
        "lines in the fields of HellaSwag, ARC, PIQA, WinoGrande or LAMBADA, asked and counted as in lm-evaluation-harness, " +
        "or {context, choices, label}.",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .requiredOption("--task <file>", "the items, one in JSON on each line")
    .option("--limit <n>", "take only the first items", wholeNumber)
    .option("--json", "as JSON");
  addEngineOptions(command);
  addExamples(command, [
    ["a published task", "qigen eval model.gguf --task hellaswag_val.jsonl"],
    [
      "its first 200 items, for programs to read",
      "qigen eval model.gguf --task hellaswag_val.jsonl --limit 200 --json",
    ],
  ]);
  command.action((model: string, flags: EvalFlags) => evaluate(model, flags, io));
}

async function evaluate(named: string, flags: EvalFlags, io: Io): Promise<void> {
  const { parseTask } = await import("../evaluation/parse-task.ts");
  const task = parseTask(flags.task, await readLongText(flags.task), flags.limit);
  const model = await loadForUser(await localModel(named, io), flags, io);
  try {
    const result = await run(model, task, io);
    const { path, activations, kv, backend, isa, threads } = model;
    const { quantize, task: file } = flags;
    const settings = {
      model: path,
      activations,
      kv,
      ...(quantize === undefined ? {} : { quantize }),
      task: file,
    };
    if (flags.json) await writeJson(io, { ...settings, backend, isa, threads, ...result });
    else await write(io.stdout, taskText(settings, result));
  } finally {
    await model.dispose();
  }
}

async function run(model: Model, task: Task, io: Io): Promise<TaskResult> {
  const status = new Status(io.stderr, "running the task");
  const pace = new Pace();
  let last: TaskProgress | undefined;
  try {
    const onProgress = (progress: TaskProgress) => {
      last = progress;
      const { done, total, accuracy } = progress;
      const items = `${bar(done / total)} of ${formatCount(total)} items`;
      status.show(() => `${items}: ${share(accuracy)}${pace.text(done, total)}`);
    };
    return await model.runTask(task, { onProgress, signal: io.interrupts.signal });
  } catch (error) {
    if (error instanceof AbortedError && last !== undefined) {
      const items = `${formatCount(last.done)} of ${formatCount(last.total)} items`;
      status.note(`stopped: ${items} only, which have an accuracy of ${share(last.accuracy)}`);
    }
    throw error;
  } finally {
    status.done();
  }
}

function share({ value, error }: Estimate): string {
  return `${estimateText({ value: 100 * value, error: 100 * error })} %`;
}

interface EvalSettings {
  readonly model: string;
  readonly quantize?: string;
  readonly activations: string;
  readonly kv: string;
  readonly task: string;
}

/** What `qigen eval` prints for people. */
export function taskText(settings: EvalSettings, result: TaskResult): string {
  const { model, quantize, activations, kv, task } = settings;
  const { kind, layout, items, accuracy, accuracyNormalized, chance, perplexity, truncated } = result;
  const as = quantize === undefined ? "" : ` as ${quantize}`;
  const what = kind === "choice" ? "which ending is the likeliest" : "the last word";
  return columns([
    ["model", `${model}${as}, ${activations} activations, ${kv} KV cache`],
    ["task", `${task}, in the fields of ${layout}: ${what}`],
    [
      "items",
      formatCount(items) + (truncated > 0 ? `, ${formatCount(truncated)} texts cut to the context` : ""),
    ],
    ["speed", `${digits(result.tokensPerSecond)} tokens/s, ${secondsText(result.seconds)}`],
    ["acc", share(accuracy)],
    ...(accuracyNormalized === undefined
      ? []
      : [["acc_norm", `${share(accuracyNormalized)}, per byte of the ending`]]),
    ...(chance === undefined ? [] : [["chance", `${(100 * chance).toFixed(2)} %`]]),
    ...(perplexity === undefined ? [] : [["perplexity", `${estimateText(perplexity)}, of the last word`]]),
  ]);
}
